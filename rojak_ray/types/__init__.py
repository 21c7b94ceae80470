"""The ancestor's import path for retry settings and messages."""

from rojak_ray.messages import ContextVariables as ContextVariables
from rojak_ray.messages import ConversationMessage as ConversationMessage
from rojak_ray.retry import RetryOptions as RetryOptions
from rojak_ray.retry import RetryPolicy as RetryPolicy

__all__ = ["ContextVariables", "ConversationMessage", "RetryOptions", "RetryPolicy"]
