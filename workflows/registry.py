"""All workflows of Baton, for workers and replays."""

from workflows.delivery import DeliveryWorkflow
from workflows.pipeline import Pipeline
from workflows.session import AgentSession
from workflows.task import Task

WORKFLOWS: list[type] = [Pipeline, Task, AgentSession, DeliveryWorkflow]
