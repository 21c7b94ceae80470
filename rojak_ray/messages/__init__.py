"""Messages, as people pass them and as we keep them.

`ConversationMessage` is the public, tolerant shape: attributes and `["keys"]`, tool calls as dictionaries in OpenAI's
form. `Message` is the frozen record the journal keeps. `read_messages` is the edge between them, where bad input stops.
"""

from rojak_ray.messages.bounds import LEAST_RESULT_BYTES as LEAST_RESULT_BYTES
from rojak_ray.messages.bounds import MOST_RESULT_BYTES as MOST_RESULT_BYTES
from rojak_ray.messages.bounds import RESULT_BYTES as RESULT_BYTES
from rojak_ray.messages.bounds import TEXT_BYTES as TEXT_BYTES
from rojak_ray.messages.bounds import bounded_content as bounded_content
from rojak_ray.messages.bounds import bounded_text as bounded_text
from rojak_ray.messages.bounds import is_longer as is_longer
from rojak_ray.messages.bounds import too_large as too_large
from rojak_ray.messages.bounds import weighs_more as weighs_more
from rojak_ray.messages.context import ContextVariables as ContextVariables
from rojak_ray.messages.context import read_context as read_context
from rojak_ray.messages.context import read_json as read_json
from rojak_ray.messages.part_forms import read_parts as read_parts
from rojak_ray.messages.parts import DATA_BYTES as DATA_BYTES
from rojak_ray.messages.parts import Content as Content
from rojak_ray.messages.parts import FilePart as FilePart
from rojak_ray.messages.parts import ImagePart as ImagePart
from rojak_ray.messages.parts import Part as Part
from rojak_ray.messages.parts import Record as Record
from rojak_ray.messages.parts import TextPart as TextPart
from rojak_ray.messages.parts import content_text as content_text
from rojak_ray.messages.parts import describe_content as describe_content
from rojak_ray.messages.parts import describe_part as describe_part
from rojak_ray.messages.parts import plain_content as plain_content
from rojak_ray.messages.public import ConversationMessage as ConversationMessage
from rojak_ray.messages.public import to_public as to_public
from rojak_ray.messages.reading import MessageInput as MessageInput
from rojak_ray.messages.reading import read_messages as read_messages
from rojak_ray.messages.records import Message as Message
from rojak_ray.messages.records import Role as Role
from rojak_ray.messages.records import ToolCall as ToolCall
from rojak_ray.messages.records import Usage as Usage
from rojak_ray.messages.records import VendorState as VendorState
from rojak_ray.messages.text import clean_text as clean_text
from rojak_ray.messages.text import has_lone_surrogate as has_lone_surrogate
from rojak_ray.messages.text import join_halves as join_halves
