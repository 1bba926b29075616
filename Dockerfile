# syntax=docker/dockerfile:1.7
# Baton for containers: worker, webhook, codec server and every other command. See docs/deployment.md.

FROM python:3.13.7-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# First what changes seldom: the locked packages, in a layer of their own. The lock also has the tools of development;
# as constraints it pins, and installs nothing. A package index of your own comes by two secrets of the build, of which
# nothing stays in the image: `pip` (a pip.conf) and `certificates` (a PEM file that it may name as `cert`).
RUN python -m venv /opt/baton
COPY pyproject.toml README.md requirements.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
 /opt/baton/bin/python -c "import tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['otel'], sep='\n')" > wanted.txt \
 && /opt/baton/bin/pip install --constraint requirements.lock --requirement wanted.txt
COPY system system
COPY baton baton
COPY agents agents
COPY workspaces workspaces
COPY activities activities
COPY workflows workflows
COPY workers workers
COPY interfaces interfaces
COPY standin standin
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
 /opt/baton/bin/pip install --no-deps . \
 && /opt/baton/bin/python -m compileall -q /opt/baton/lib

FROM python:3.13.7-slim-bookworm
# git does the work on repositories, git-lfs uploads large files; ssh reaches those that need it. Sandbox, search and the
# `temporal` command come as Python packages. Toolchains that the gate of your projects needs (node, a compiler) belong
# here, too.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git git-lfs openssh-client ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 baton \
 && useradd --uid 10001 --gid baton --home-dir /var/lib/baton --create-home --shell /usr/sbin/nologin baton
COPY --from=build /opt/baton /opt/baton
# Commands for people print no log lines; what serves prints them for machines.
ENV PATH=/opt/baton/bin:$PATH \
    HOME=/var/lib/baton \
    PYTHONDONTWRITEBYTECODE=1 \
    BATON_HOME=/var/lib/baton/home \
    BATON_SECRETS_DIR=/run/secrets \
    BATON_SERVICE_LOG=json \
    BATON_SERVICE_LOG_LEVEL=info \
    BATON_METRICS_ADDRESS=0.0.0.0:9464
# The container may run as any user (`--user`, OpenShift): one that is not known here finds a home, too, and may write.
RUN mkdir -p /run/secrets && chmod 1777 /var/lib/baton
USER 10001:10001
WORKDIR /var/lib/baton
VOLUME /var/lib/baton
EXPOSE 9464
STOPSIGNAL SIGTERM
# A worker and a webhook that live answer here; one that has lost its server ends by itself and is started again.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/metrics', timeout=3)"]
ENTRYPOINT ["baton"]
CMD ["worker"]
