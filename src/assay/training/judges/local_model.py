"""A judge in a folder: a text or vision-language model that transformers can load, on this machine.

It is not made to write an answer. The chance that it would answer "A" is compared with that of "B", which needs one
pass, has no wording to misread, and gives a score:

    score = log p(" A" | question) - log p(" B" | question)        unsure while |score| <= margin

Models favour a place, by far more than they know: ask in both orders, as the critic does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import InputError, require
from assay.training.judges import FIRST, SECOND, UNSURE, Answer, Candidate, Case
from assay.training.judges.words import Part, pair_question, presence_question, single_question


class LocalModelJudge:
    """A model of a folder; nothing is downloaded and no code of the folder is run.

    Parameters
    ----------
    path : folder with the model and its tokenizer or processor.
    criteria : what a good label is like, in plain words; None for a sentence about the kind.
    margin : nats by which one answer must be likelier.
    price : of one call, if electricity counts.
    device : "cpu", "cuda", "mps".
    """

    def __init__(
        self,
        path: str | Path,
        criteria: str | None = None,
        margin: float = 0.0,
        price: float = 0.0,
        device: str = "cpu",
    ) -> None:
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise InputError(f"{self.path} holds no model: expected a folder with config.json, weights and tokenizer.")
        self.criteria = criteria
        self.margin = margin
        self.price = price
        self.device = device
        self.name = self.path.resolve().name
        self._torch: Any = require("torch", "deep", "A judge in a folder")
        transformers = require("transformers", "deep", "A judge in a folder")
        safe = {"local_files_only": True, "trust_remote_code": False}
        config = transformers.AutoConfig.from_pretrained(self.path, **safe)
        self.sees = getattr(config, "vision_config", None) is not None
        loader = transformers.AutoModelForImageTextToText if self.sees else transformers.AutoModelForCausalLM
        self._model = loader.from_pretrained(self.path, use_safetensors=True, **safe).to(device).eval()
        reader = transformers.AutoProcessor if self.sees else transformers.AutoTokenizer
        self._reader = reader.from_pretrained(self.path, **safe)
        self._tokenizer = self._reader.tokenizer if self.sees else self._reader

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        """The label whose name is the likelier answer."""
        return self._answer(pair_question(case, first, second, self.criteria), ("A", "B"))

    def check(self, case: Case, candidate: Candidate) -> Answer:
        """Good or bad, whichever is the likelier answer."""
        return self._answer(single_question(case, candidate, self.criteria), ("GOOD", "BAD"))

    def present(self, case: Case) -> Answer:
        """Yes or no, whichever is the likelier answer."""
        return self._answer(presence_question(case), ("YES", "NO"))

    def _answer(self, parts: list[Part], names: tuple[str, str]) -> Answer:
        logs = self.answer_logs(parts, names)
        score = logs[0] - logs[1]
        if not np.isfinite(score):
            return Answer(UNSURE, f"log chances {logs}")
        said = UNSURE if abs(score) <= self.margin else FIRST if score > 0 else SECOND
        return Answer(said, f"log p({names[0]}) - log p({names[1]}) = {score:.4f}", score)

    def answer_logs(self, parts: list[Part], names: tuple[str, str]) -> list[float]:
        """Log chance of each name after the question and "VERDICT:", up to the first token by which they differ."""
        pictures = [part for part in parts if isinstance(part, np.ndarray)]
        if pictures and not self.sees:
            raise InputError(f"{self.name} sees no pictures: take a vision-language model, or labels without pictures.")
        inputs = self._question(parts, pictures)
        tokens = [self._tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in names]
        same = next((at for at, pair in enumerate(zip(*tokens, strict=False)) if pair[0] != pair[1]), None)
        if same is None:
            raise InputError(f"The tokenizer of {self.name} cannot tell {names[0]} from {names[1]}.")
        return [self._log_chance(inputs, self._torch.tensor([one[: same + 1]], device=self.device)) for one in tokens]

    def _question(self, parts: list[Part], pictures: list[Any]) -> dict[str, Any]:
        """Tokens, and pixels, of a question that ends where the answer begins."""
        if getattr(self._reader, "chat_template", None):
            if self.sees:
                content: Any = [
                    {"type": "image"} if isinstance(p, np.ndarray) else {"type": "text", "text": p} for p in parts
                ]
            else:
                content = "\n".join(map(str, parts))
            chat = [{"role": "user", "content": content}]
            prompt = self._reader.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        else:
            mark = getattr(self._reader, "image_token", "<image>")
            prompt = "\n".join(mark if isinstance(part, np.ndarray) else part for part in parts) + "\n"
        images = {"images": pictures} if pictures else {}
        given = dict(self._reader(text=prompt + "VERDICT:", return_tensors="pt", **images))
        given.pop("token_type_ids", None)
        return {name: value.to(self.device) for name, value in given.items()}

    def _log_chance(self, inputs: dict[str, Any], answer: Any) -> float:
        torch = self._torch
        ids = torch.cat([inputs["input_ids"], answer], dim=1)
        more = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            logits = self._model(**more).logits[0, -answer.shape[1] - 1 : -1].float()
        logs = torch.log_softmax(logits, dim=-1)
        return float(logs.gather(1, answer[0][:, None]).sum())
