"""What a label is: spaces, containers, checks, conversions; tables and foreign formats in and out; the ledger.

`assay.labels.convert` turns one type into another, `assay.labels.likelihood` scores a model against any of them.
"""

from assay.labels.boxes import Boxes
from assay.labels.candidates import Candidates
from assay.labels.censored import Censored
from assay.labels.container import Container
from assay.labels.hard import Hard
from assay.labels.masks import Masks
from assay.labels.preferences import Preferences
from assay.labels.proportions import Proportions
from assay.labels.records import Granularity, Item, Observation, Source, SourceKind
from assay.labels.security import Security
from assay.labels.soft import Soft
from assay.labels.spaces import Kind, Space
from assay.labels.tags import Tags
from assay.labels.votes import Votes

__all__ = [
    "Boxes",
    "Candidates",
    "Censored",
    "Container",
    "Granularity",
    "Hard",
    "Item",
    "Kind",
    "Masks",
    "Observation",
    "Preferences",
    "Proportions",
    "Security",
    "Soft",
    "Source",
    "SourceKind",
    "Space",
    "Tags",
    "Votes",
]
