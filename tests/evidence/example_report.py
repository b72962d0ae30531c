"""A report as rich as a real one: digits with flipped labels, short texts, table rows. Looked at in a browser."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from assay.evidence import plots, rows
from assay.evidence.report import (
    Card,
    Cards,
    Column,
    Command,
    Fact,
    Grid,
    Matrix,
    Prose,
    Report,
    Section,
)

TEXTS = [
    ("card_arrival", "card_linking", "I just got my new card in the mail.  How do I connect it to the app?"),
    ("top_up_failed", "pending_top_up", "My top-up has been\n    still loading for two days\n\nwhat is going on??"),
    (
        "exchange_rate",
        "card_payment_wrong_exchange_rate",
        "The rate you used for my purchase abroad looks wrong. " * 14,
    ),
    ("نقل الأموال", "transfer", "لماذا لم يصل التحويل إلى حسابي بعد؟ 👩‍👩‍👧 naïve ﬁsh"),
]


def example() -> Report:
    digits = load_digits()
    rng = np.random.default_rng(7)
    truth, n, k = digits.target, len(digits.target), 10
    names = [str(code) for code in range(k)]
    flipped = rng.random(n) < 0.08
    given = np.where(flipped, (truth + rng.integers(1, k, n)) % k, truth)
    p = cross_val_predict(
        LogisticRegression(max_iter=300, C=0.05), digits.data / 16, given, method="predict_proba", cv=3
    )
    raw = 1 - p[np.arange(n), given]
    p_wrong = cross_val_predict(IsotonicRegression(out_of_bounds="clip"), raw, flipped, cv=5)
    p_wrong = np.clip(p_wrong, 0.002, 0.997) - 0.001 * (1 - raw)
    worst = np.argsort(-p_wrong)[:24]
    guess = p.argmax(1)
    joint = np.zeros((k, k), dtype=int)
    np.add.at(joint, (given, guess), 1)
    share = joint / joint.sum(1, keepdims=True)
    rate = np.array([flipped[given == code].mean() for code in range(k)])
    size = np.array([(given == code).sum() for code in range(k)])
    half = 1.96 * np.sqrt(rate * (1 - rate) / size)
    found = np.cumsum(flipped[np.argsort(-p_wrong)])
    reviews = np.arange(1, n + 1)
    expected = flipped.sum() * (1 - np.exp(-reviews / 120))
    prevalence = np.linspace(0, 0.3, 31)

    pictures = tuple(
        Card(
            at + 1,
            str(row),
            names[given[row]],
            names[guess[row]],
            float(p_wrong[row]),
            rows.picture(
                digits.images[row], f"an 8 by 8 picture of a handwritten digit, labelled {given[row]}", (0, 16)
            ),
            (float(max(0, p_wrong[row] - 0.12)), float(min(1, p_wrong[row] + 0.03))),
        )
        for at, row in enumerate(worst[:12])
    )
    texts = tuple(
        Card(at + 1, str(100 + at), old, new, 0.96 - at / 20, rows.text(value), (0.88 - at / 20, 0.99 - at / 20))
        for at, (old, new, value) in enumerate(TEXTS)
    )
    people = {
        "age": np.r_[rng.normal(39, 12, 300).round(), 52, 19],
        "education": np.array(["HS-grad", "Bachelors", "Some-college"] * 100 + ["Doctorate", "HS-grad"]),
        "hours-per-week": np.r_[rng.normal(40, 6, 300).round(), 60, 99],
        "capital-gain": np.r_[np.zeros(300), 15024, np.nan],
        "occupation": np.array(["Sales", "Craft-repair", "Adm-clerical"] * 100 + ["Exec-managerial", "Sales"]),
        "sex": np.array(["Female", "Male"] * 151),
        "native-country": np.array(["United-States"] * 301 + ["Holand-Netherlands"]),
        "relationship": np.array(["Husband", "Not-in-family"] * 151),
    }
    income = np.r_[(people["age"][:300] > 45).astype(int), 0, 1]
    table = rows.table_rows(people, [300, 301], income, [1, 0], ["<=50K", ">50K"])
    people_cards = tuple(
        Card(at + 1, str(300 + at), ["<=50K", ">50K"][at], [">50K", "<=50K"][at], 0.91 - at / 10, shown)
        for at, shown in enumerate(table)
    )
    n_flagged = int((p_wrong > 0.5).sum())
    true_rate = float(flipped.mean())
    return Report(
        title="digits.csv, column “digit”",
        verdict=f"About 1 label in {round(1 / true_rate)} is wrong, and reviewing {n_flagged} rows finds most of them.",
        facts=(
            Fact(
                "Wrong labels, estimated",
                true_rate,
                (true_rate - 0.011, true_rate + 0.013),
                "%",
                f"about {flipped.sum()} rows",
            ),
            Fact("Rows flagged", n_flagged, None, "", f"of {n:,} read"),
            Fact("Of the flagged, wrong", 0.874, (0.81, 0.92), "%", "expected precision"),
            Fact("Most affected class", "3", None, "", "13.1 % of its labels"),
            Fact("Reviews to ± 1 %", 180, (150, 230), "", "then stop"),
        ),
        sections=(
            Section(
                "How wrong are the labels?",
                "Flagged rows and a random audit agree on an error rate near 8 %; three classes carry half of it.",
                (
                    plots.histogram(
                        f"{n_flagged} rows stand apart from the rest",
                        p_wrong,
                        0.5,
                        note="Each bar holds the rows whose label is wrong with that probability.",
                    ),
                    plots.bars(
                        "Labels of 3 and 8 are wrong most often",
                        names,
                        rate,
                        np.c_[np.maximum(0, rate - half), rate + half],
                        x_label="Wrong labels",
                        reference=true_rate,
                    ),
                    plots.reliability(
                        "The probabilities keep their promise",
                        p_wrong,
                        flipped,
                        note="Dots on the line: of the rows called 30 % wrong, 30 % were. Bars are 95 % intervals.",
                    ),
                    Prose(
                        "The estimate joins two sources: every flagged row reviewed, and a random sample of the rest."
                        "\n\nA second paragraph says what was assumed."
                    ),
                ),
            ),
            Section(
                "Which classes are confused?",
                "When a label is wrong, it is mostly one of a few neighbours.",
                (
                    Matrix.of(
                        "Share of each given label that is likely another class",
                        names,
                        share,
                        joint,
                        note="Small numbers are rows. The diagonal, labels that look right, is grey.",
                    ),
                    plots.heat("Most 1s that are wrong look like 8s", names, share),
                    Matrix.of(
                        "Confusions between intents",
                        [f"intent_{i}" for i in range(77)],
                        rng.random((77, 77)) ** 6 / 4,
                        rng.integers(1, 60, (77, 77)),
                    ),
                    Grid(
                        "Classes, most affected first",
                        (
                            Column("class"),
                            Column("rows"),
                            Column("wrong", "%"),
                            Column("threshold", "%"),
                            Column("remark"),
                        ),
                        tuple(
                            (
                                names[c],
                                int(size[c]),
                                (float(rate[c]), float(max(0, rate[c] - half[c])), float(rate[c] + half[c])),
                                0.71,
                                "overlaps with 8" if c == 3 else None,
                            )
                            for c in np.argsort(-rate)[:6]
                        ),
                    ),
                ),
            ),
            Section(
                "The worst rows",
                "Twelve pictures, four texts and two table rows, most suspicious first.",
                (
                    Cards("Pictures", pictures),
                    Cards("Texts", texts),
                    Cards(
                        "Table rows",
                        people_cards,
                        note="Columns that speak loudest for the suggested label come first.",
                    ),
                ),
            ),
            Section(
                "Does it matter?",
                "Two models change places once six per cent of the test labels are wrong.",
                (
                    plots.stability(
                        "The small model wins when more than 6 % of the labels are wrong",
                        prevalence,
                        {
                            "ResNet-50": 0.93 - 0.8 * prevalence,
                            "ResNet-18": 0.91 - 0.45 * prevalence,
                            "nasnet-large-with-a-long-name": 0.912 - 0.5 * prevalence,
                        },
                        {"ResNet-50": np.c_[0.92 - 0.8 * prevalence, 0.94 - 0.8 * prevalence]},
                        crossovers=[(0.057, 0.041, 0.08)],
                        observed=true_rate,
                    ),
                    plots.review_curve(
                        "Half of the errors are in the first 75 rows",
                        reviews,
                        found,
                        np.maximum(0, expected * 0.85),
                        expected * 1.15,
                        total=float(flipped.sum()),
                        done=60,
                    ),
                    plots.half_width(
                        "180 more reviews bring the error rate to ± 1 %",
                        reviews[20:1000:10],
                        0.2 / np.sqrt(reviews[20:1000:10]),
                        goal=0.01,
                        done=60,
                    ),
                ),
            ),
        ),
        commands=(
            Command(
                "assay review digits.csv --label digit --ledger digits.ledger",
                "Review the flagged rows, worst first; the error rate narrows as you go.",
            ),
            Command(
                "assay ledger export digits.ledger --out digits.repaired.csv",
                "Write the file with the labels that you mended, every other byte unchanged.",
            ),
        ),
        warnings=(
            "Class 8 has only 12 rows flagged; its interval is wide.",
            "The probabilities look in-sample: give out-of-fold ones for a trustworthy rate.",
        ),
        provenance={
            "source": "digits.csv",
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "n_rows": n,
            "seed": 7,
            "versions": {"assay": "0.1.0", "python": "3.11.7", "numpy": "2.3.1"},
            "command": "assay audit digits.csv --label digit",
            "time": "2026-11-24T07:00:00Z",
        },
        numbers={"error_rate": true_rate, "flagged": worst},
    )
