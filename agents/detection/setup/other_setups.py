"""Set-up of Go, Rust, JVM, Ruby, PHP and .NET projects: fetch the pinned packages, so that tests need no network."""

import re

from agents.detection.setup.plan import TOOLS, ProjectFiles, Requirement, SetupPlan

_GO_HOSTS = ["proxy.golang.org", "sum.golang.org", "storage.googleapis.com"]
_CARGO_HOSTS = ["index.crates.io", "static.crates.io", "crates.io"]
_JVM_HOSTS = ["repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "services.gradle.org"]
_RUBY_HOSTS = ["rubygems.org", "index.rubygems.org"]
_PHP_HOSTS = ["repo.packagist.org", "packagist.org", "api.github.com", "codeload.github.com"]
_DOTNET_HOSTS = ["api.nuget.org", "www.nuget.org"]
HOSTS = [*_GO_HOSTS, *_CARGO_HOSTS, *_JVM_HOSTS, *_RUBY_HOSTS, *_PHP_HOSTS, *_DOTNET_HOSTS]


def plan_go(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Go module or workspace."""
    if not project.has_file("go.mod", "go.work"):
        return None
    match = re.search(
        r"^go\s+(\d+\.\d+(?:\.\d+)?)", project.read_text("go.mod") or project.read_text("go.work"), re.MULTILINE
    )
    return SetupPlan(
        steps=[project.make_step("go mod download", "go.sum pins what is fetched")],
        requirements=[
            Requirement(
                tool="go",
                version=f">={match[1]}" if match else "",
                reason="go.mod",
                remedy="install it from https://go.dev/dl; Debian's package is `golang-go`",
            )
        ],
        key_files=_existing_paths(project, "go.mod", "go.sum", "go.work", "go.work.sum"),
        env={"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"},
        hosts=_GO_HOSTS,
    )


def plan_rust(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Cargo package or workspace."""
    if not project.has_file("Cargo.toml"):
        return None
    channel = re.search(r"[\"']?([\w.-]+)[\"']?\s*$", project.read_text("rust-toolchain").strip())
    pinned = re.search(r"channel\s*=\s*[\"']([\w.-]+)", project.read_text("rust-toolchain.toml"))
    wanted = pinned[1] if pinned else channel[1] if channel else ""
    locked = " --locked" if project.has_file("Cargo.lock") else ""
    return SetupPlan(
        steps=[project.make_step(f"cargo fetch{locked}", "Cargo.lock pins what is fetched")],
        requirements=[
            Requirement(
                tool="cargo",
                version=wanted if wanted != "stable" else "",
                reason="Cargo.toml",
                remedy="install it by https://rustup.rs; Debian's package is `cargo`",
            )
        ],
        key_files=_existing_paths(project, "Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml"),
        hosts=_CARGO_HOSTS,
    )


def plan_jvm(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Maven or Gradle build, by its wrapper where it has one."""
    if project.has_file("pom.xml"):
        tool = "mvn" if not project.has_file("mvnw") else "./mvnw"
        goals = "-q -B -DskipTests test-compile dependency:go-offline surefire:help"
        step = project.make_step(f"{tool} {goals}", "pom.xml names what is fetched")
    elif project.has_file("build.gradle", "build.gradle.kts"):
        tool = "gradle" if not project.has_file("gradlew") else "./gradlew"
        step = project.make_step(f"{tool} --no-daemon -q testClasses", "the Gradle build names what is fetched")
    else:
        return None
    needed = [("java", "Debian's package is `default-jdk-headless`")]
    needed += [(tool, f"Debian's package is `{'maven' if tool == 'mvn' else tool}`")] if "/" not in tool else []
    return SetupPlan(
        steps=[step],
        requirements=[
            Requirement(tool=name, reason=step.reason, remedy=f"install it; {package}") for name, package in needed
        ],
        key_files=_existing_paths(
            project, "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "gradle.lockfile"
        )
        + _existing_paths(project, "settings.gradle.kts", "mvnw", "gradlew"),
        hosts=_JVM_HOSTS,
    )


def plan_ruby(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Bundler project."""
    if not project.has_file("Gemfile"):
        return None
    return SetupPlan(
        steps=[project.make_step("bundle install --jobs 4", "Gemfile.lock pins what is installed")],
        requirements=[
            Requirement(
                tool="bundle",
                version=project.read_text(".ruby-version").strip()[:40],
                reason="Gemfile",
                remedy="install Ruby by rbenv or mise; Debian's package is `ruby-bundler`",
            )
        ],
        key_files=_existing_paths(project, "Gemfile", "Gemfile.lock", ".ruby-version"),
        env={
            "BUNDLE_PATH": f"{TOOLS}/bundle",
            "BUNDLE_FROZEN": "true" if project.has_file("Gemfile.lock") else "false",
        },
        hosts=_RUBY_HOSTS,
    )


def plan_php(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Composer project."""
    if not project.has_file("composer.json"):
        return None
    return SetupPlan(
        steps=[
            project.make_step("composer install --no-interaction --no-progress", "composer.lock pins what is installed")
        ],
        requirements=[
            Requirement(tool="php", reason="composer.json", remedy="install it; Debian's package is `php-cli`"),
            Requirement(tool="composer", reason="composer.json", remedy="install it; Debian's package is `composer`"),
        ],
        key_files=_existing_paths(project, "composer.json", "composer.lock"),
        hosts=_PHP_HOSTS,
    )


def plan_dotnet(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a .NET solution or project."""
    projects = [name for name in project.top if name.endswith((".sln", ".slnx", ".csproj", ".fsproj"))]
    if not projects:
        return None
    return SetupPlan(
        steps=[project.make_step("dotnet restore", "the project files name what is fetched")],
        requirements=[
            Requirement(tool="dotnet", reason=projects[0], remedy="install the SDK from https://dot.net/download")
        ],
        key_files=_existing_paths(project, *projects, "global.json", "Directory.Packages.props", "packages.lock.json"),
        env={"DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1"},
        hosts=_DOTNET_HOSTS,
    )


def _existing_paths(project: ProjectFiles, *names: str) -> list[str]:
    return [project.root_path(name) for name in names if project.has_file(name)]
