"""Information flow around what already runs: a retrieval pipeline, and a loop of tool calls.

Both label what comes out, ask before anything acts, and write what happened to an audit log. They are conservative
unless told otherwise: an answer then carries the join of everything that the model saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from assay.errors import InputError
from assay.labels.flow import FlowAnswer
from assay.labels.lattice import Label, Lattice


class Flow(Protocol):
    """What a guard needs of `assay.protect.information_flow.InformationFlow`."""

    lattice: Lattice | None
    mode: str

    def answer(
        self,
        query: Any,
        items: Sequence[Any],
        labels: Sequence[Any],
        query_label: Any = None,
        limit: Label | None = None,
        refetch: Callable[[Label], Sequence[Any]] | None = None,
    ) -> FlowAnswer:
        """See there."""

    def set_params(self, **params: Any) -> Any:
        """See there."""


class AuditLog:
    """JSON lines, one an event, appended at once.

    Queries and answers are in it as SHA-256 digests, not as text. Labels and records are functions of everything that
    was seen, so the file is for those whom everything may reach.
    """

    def __init__(self, path: Path | str | None) -> None:
        self.path = None if path is None else Path(path)

    def write(self, event: str, **said: Any) -> None:
        """Append an event; nothing without a path."""
        if self.path is not None:
            line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **said}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def digest(value: Any) -> str:
    """SHA-256 of a value as text, in hexadecimal digits."""
    return hashlib.sha256(str(value).encode("utf-8", errors="replace")).hexdigest()


class GuardedRetrieval:
    """A retrieval pipeline whose answers carry labels.

    Parameters
    ----------
    retriever : called as `retriever(query, visible)`; gives (item, label) pairs of which `visible(label)` holds, best
        first. It must look at no others: the best ten of all, filtered, are not the best ten of those visible.
    flow : an `InformationFlow`.
    permissive : search for a lower label; else the label is the join of those of all items found.
    log : file of the audit log, JSON lines.
    """

    def __init__(
        self,
        retriever: Callable[[Any, Callable[[Any], bool]], Sequence[tuple[Any, Any]]],
        flow: Flow,
        *,
        permissive: bool = False,
        log: Path | str | None = None,
    ) -> None:
        self.retriever = retriever
        self.flow, self.lattice = _guarding(flow, permissive)
        self.log = AuditLog(log)

    def ask(self, query: Any, query_label: Any = None) -> FlowAnswer:
        """Retrieve, answer, label; the answer rests on what is found when nothing above its label can be seen."""

        def found_at(label: Label) -> list[Any]:
            found = self.retriever(query, lambda one: self.lattice.label(one) <= label)
            above = [at for at, (_, one) in enumerate(found) if not self.lattice.label(one, at) <= label]
            if above:
                raise InputError(f"The retriever gave an item that {label} may not see.", row=above[0])
            return [item for item, _ in found]

        found = self.retriever(query, lambda _: True)
        items, labels = [item for item, _ in found], [label for _, label in found]
        said = self.flow.answer(query, items, labels, query_label, refetch=found_at)
        self.log.write("answer", query=digest(query), text=digest(said.text), sound=said.sound, **said.record)
        return said


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a model asks for: the tool's name, and its arguments by name."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may call.

    Parameters
    ----------
    function : called with the arguments; its result becomes an item of the context, as text.
    gives : label of what it brings in; what it returns carries the join of that and the call's own label.
    policy : highest label of a call that is let through: "trusted" for what acts in the world, "public" for what sends
        things out. None lets every call through.
    """

    function: Callable[..., Any]
    gives: Any
    policy: Any = None


class GuardedTools:
    """A loop in which a model calls tools, and every call is checked before it acts.

    A call is text of the model and carries a label like any answer. Conservatively that is the join of the whole
    context: one untrusted page, and nothing that needs trust can be called any more. Permissively, a call whose label
    is too high is asked for again from what the policy lets through, if that explains it as well (one more scored
    label); what then acts is the call that comes out of that.

    Parameters
    ----------
    flow : an `InformationFlow` whose answerer writes calls.
    tools : by name.
    read_call : the call that a text asks for, None when it is an answer.
    permissive : see above.
    max_steps : calls after which the loop is given up.
    log : file of the audit log, JSON lines.
    """

    def __init__(
        self,
        flow: Flow,
        tools: Mapping[str, Tool],
        read_call: Callable[[str], Call | None],
        *,
        permissive: bool = False,
        max_steps: int = 8,
        log: Path | str | None = None,
    ) -> None:
        self.flow, self.lattice = _guarding(flow, permissive)
        self.tools = dict(tools)
        self.read_call = read_call
        self.permissive = permissive
        self.max_steps = max_steps
        self.log = AuditLog(log)

    def run(
        self, query: Any, items: Sequence[Any] = (), labels: Sequence[Any] = (), query_label: Any = None
    ) -> FlowAnswer:
        """Let the model call tools until it answers; it begins with items (n,) and their labels (n,).

        Raises
        ------
        InputError : when it asks for more than `max_steps` calls.
        """
        context, carried = list(items), [self.lattice.label(label, at) for at, label in enumerate(labels)]
        for step in count():
            said = self.flow.answer(query, context, carried, query_label)
            call = self.read_call(said.text)
            if call is None:
                self.log.write("answer", step=step, text=digest(said.text), sound=said.sound, **said.record)
                return said
            if step == self.max_steps:
                break
            item, label = self._act(call, said, step, (query, context, carried, query_label))
            context.append(item)
            carried.append(label)
        raise InputError(f"The model asked for {self.max_steps + 1} calls and gave no answer: raise max_steps?")

    def _act(self, call: Call, said: FlowAnswer, step: int, context: tuple[Any, ...]) -> tuple[str, Label]:
        """What a call, or its refusal, adds to the context."""
        tool = self.tools.get(call.tool)
        if tool is None:
            self.log.write("unknown", step=step, tool=call.tool, label=said.label.value)
            return f"There is no tool {call.tool}.", said.label
        policy = None if tool.policy is None else self.lattice.label(tool.policy)
        if policy is not None and not said.label <= policy and self.permissive:
            query, items, labels, query_label = context
            lower = self.flow.answer(query, items, labels, query_label, limit=policy)
            again = self.read_call(lower.text)
            if again is not None and again.tool == call.tool:
                call, said = again, lower
        allowed = policy is None or said.label <= policy
        self.log.write(
            "call" if allowed else "refused",
            step=step,
            tool=call.tool,
            policy=None if policy is None else policy.value,
            text=digest(said.text),
            sound=said.sound,
            **said.record,
        )
        if not allowed:
            return f"The call of {call.tool} was refused: it rests on what it may not rest on.", said.label
        result = str(tool.function(**call.arguments))
        return result if result.strip() else "(nothing)", self.lattice.label(tool.gives) | said.label


def _guarding(flow: Flow, permissive: bool) -> tuple[Flow, Lattice]:
    """A flow like this one that searches, or does not, and its lattice."""
    if flow.lattice is None or flow.mode == "attribute":
        raise InputError('A guard needs a flow with a lattice and a mode that is sound: "regenerate" or "verify".')
    guarding = copy(flow)
    if not permissive:
        guarding.set_params(search="conservative")
    return guarding, flow.lattice
