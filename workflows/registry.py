"""All workflows of Baton, for whoever runs or replays them."""

from workflows.delivery import DeliveryWorkflow
from workflows.pipeline import Pipeline
from workflows.session import AgentSession
from workflows.task import Task

WORKFLOWS: list[type] = [Pipeline, Task, AgentSession, DeliveryWorkflow]
