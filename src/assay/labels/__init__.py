"""What a label is: spaces, containers, checks, conversions; tables and foreign formats in and out; the ledger."""

from assay.labels.container import Container
from assay.labels.hard import Hard
from assay.labels.soft import Soft
from assay.labels.spaces import Kind, Space

__all__ = ["Container", "Hard", "Kind", "Soft", "Space"]
