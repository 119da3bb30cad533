"""The items of CLAIM 2024 and STARD-AI, by number and in our own short words.

The texts are their authors'. An item names the topics (`known.py`) that a run's files answer it with; `whole` where
these are all that it asks for. `people` is what a person must write: all of it, or what the topics leave open.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its number, what it is about, what people write, and the topics that a run answers it with."""

    number: str
    about: str
    people: str
    topics: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Checklist:
    """A checklist: its name, where it stands, and section -> its items."""

    name: str
    source: str
    sections: dict[str, tuple[Item, ...]]

    @property
    def items(self) -> tuple[Item, ...]:
        """All items in their order."""
        return tuple(item for items in self.sections.values() for item in items)


CLAIM = Checklist(
    name="CLAIM 2024",
    source="Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300, https://doi.org/10.1148/ryai.240300",
    sections={
        "Title and abstract": (
            Item("1", "The method in the title", "name the kind of method in title or abstract"),
            Item("2", "Abstract", "sum up design, methods, results and conclusions"),
        ),
        "Introduction": (
            Item("3", "Background", "what is known, what the model is meant for, and its part in care"),
            Item("4", "Aims", "aims, objectives and hypotheses"),
        ),
        "Methods: design": (
            Item("5", "Prospective or retrospective", "which of the two"),
            Item("6", "Goal", "what kind of study it is, and what the model shall decide"),
        ),
        "Methods: data": (
            Item("7", "Where the data come from", "who collected them, where and when; links to public ones",
                 ("data", "parts")),
            Item("8", "Who is in and who is not", "criteria for patients, and how examinations were chosen",
                 ("left out",)),
            Item("9", "Preprocessing", "what was done to the pictures before they came here", ("pixels",)),
            Item("10", "Parts of the data that were chosen", "which regions, series or subsets, and by whom",
                 ("limit",)),
            Item("11", "De-identification", "how identities were removed; ResNetKit removes none from pictures"),
            Item("12", "Missing data", "what was missing clinically, and how that was handled", ("unreadable",)),
            Item("13", "How pictures were taken", "devices, protocols, sequences, resolution"),
        ),
        "Methods: reference standard": (
            Item("14", "What the classes mean", "how the truth of each picture was decided"),
            Item("15", "Why this standard", "why this one and not another"),
            Item("16", "Who annotated", "who, with which training"),
            Item("17", "How test pictures were annotated", "instructions and software"),
            Item("18", "How far annotators agree", "between and within annotators, and how differences were settled"),
        ),
        "Methods: division": (
            Item("19", "How pictures were put into parts", "how, and with which shares",
                 ("assigned", "parts", "classes"), True),
            Item("20", "What keeps the parts apart", "patients, studies or pictures", ("groups", "copies"), True),
        ),
        "Methods: test pictures": (
            Item("21", "Intended size of the test part", "how it was planned"),
        ),
        "Methods: model": (
            Item("22", "The network", "its parts, inputs and outputs", ("network", "pixels"), True),
            Item("23", "Software and machine", "versions", ("software", "machine"), True),
            Item("24", "What the weights were at first", "random, or whose", ("weights",), True),
        ),
        "Methods: training": (
            Item("25", "How it was trained", "changes of pictures, settings, when it ended",
                 ("recipe", "epochs"), True),
            Item("26", "How the final model was chosen", "which other runs and settings were tried, and why this one",
                 ("choice",)),
            Item("27", "Several models together", "which, and how they are joined", ("one network",), True),
        ),
        "Methods: evaluation": (
            Item("28", "Figures", "why these, and how they compare with published ones", ("names of figures",)),
            Item("29", "Doubt", "how intervals are computed (docs/evaluation.md) and runs compared",
                 ("intervals",)),
            Item("30", "Robustness", "what was changed, and what that did"),
            Item("31", "Explanations", "which method, and how it was checked; `resnetkit explain` scores its maps"),
            Item("32", "Internal test", "on which pictures of the same source", ("scored",), True),
            Item("33", "External test", "on pictures of other places, or why not; `resnetkit evaluate` scores them"),
            Item("34", "Registration of a trial", "number and registry, where it is one"),
        ),
        "Results: data": (
            Item("35", "How many were in and how many not", "patients and examinations at each step, as a flow",
                 ("parts", "left out", "unreadable")),
            Item("36", "Who is in each part", "age, sex, disease and devices by part; `evaluate --by` scores them",
                 ("classes",)),
        ),
        "Results: model": (
            Item("37", "Figures on all parts and subgroups", "figures of subgroups and of other data", ("by part",)),
            Item("38", "Accuracy and its doubt", "figures with intervals", ("figures",), True),
            Item("39", "What it gets wrong", "look at the errors (report.html) and say what they mean",
                 ("confusion",)),
        ),
        "Discussion": (
            Item("40", "Limits", "bias, doubt, and where else it may not hold"),
            Item("41", "What it means for practice", "use, role, and what stands in the way"),
        ),
        "Other information": (
            Item("42", "Full protocol", "where it can be read", ("files",)),
            Item("43", "Software, model and data", "where each can be had, and on which terms",
                 ("version", "licence")),
            Item("44", "Funding", "who paid, and what part they had"),
        ),
    },
)  # fmt: skip

STARD_AI = Checklist(
    name="STARD-AI",
    source="Sounderajah et al., Nature Medicine 2025;31(10):3283-3289, https://doi.org/10.1038/s41591-025-03953-8",
    sections={
        "Title and abstract": (
            Item("1", "The kind of study in the title", "say that an AI's diagnostic accuracy is reported, and one "
                 "figure of it"),
            Item("2", "Abstract", "sum up design, methods, results and conclusions"),
        ),
        "Introduction": (
            Item("3", "Background", "what is known, what the test is for, whether it is new, its place in the work"),
            Item("4", "Aims", "objectives and hypotheses"),
        ),
        "Methods: design, ethics, participants": (
            Item("5", "Prospective or retrospective", "whether data were collected before the tests or after"),
            Item("6", "Ethics", "who approved it, or why nobody had to"),
            Item("7", "Who is in and who is not", "criteria in their order, for patients and for pictures",
                 ("left out",)),
            Item("8", "How participants were found", "by symptoms, earlier results, a registry"),
            Item("9", "Where and when", "setting, places, dates"),
            Item("10", "What series they are", "consecutive, random or by convenience"),
        ),
        "Methods: data": (
            Item("11", "Where the data come from", "routine, collected for this, or from a public source", ("data",)),
            Item("12", "Who annotated", "who, with which experience, and how"),
            Item("13", "Devices and software", "makers and models of the devices", ("software",)),
            Item("14", "How pictures were taken and prepared", "protocols of the devices", ("pixels",)),
        ),
        "Methods: tests": (
            Item("15a", "The test", "so that others can repeat it", ("network", "pixels", "cut-off"), True),
            Item("15b", "How it was made", "which other runs were tried, and the evaluation on data of elsewhere",
                 ("assigned", "parts", "weights", "recipe", "epochs", "choice")),
            Item("15c", "From where on it is positive", "why there, and whether that was fixed before",
                 ("cut-off",)),
            Item("15d", "Who uses it", "which users, and what they must know"),
            Item("16a", "The reference standard", "so that others can repeat it"),
            Item("16b", "Why this standard", "why this one and not another"),
            Item("16c", "From where on the standard is positive", "what makes a picture one of its class"),
            Item("17a", "What the readers of the test knew", "of the patient and of the standard"),
            Item("17b", "What the assessors of the standard knew", "of the patient and of the test"),
        ),
        "Methods: analysis": (
            Item("18", "How accuracy is estimated", "how figures and intervals are computed (docs/evaluation.md)",
                 ("names of figures", "intervals")),
            Item("19", "Unclear results", "of the standard", ("answers",)),
            Item("20", "Missing data", "of the standard, and of patients", ("unreadable",)),
            Item("21", "How accuracy varies", "by what, and whether that was planned before"),
            Item("22", "Intended size", "how it was planned"),
            Item("23", "Errors and fairness", "who is served worse; `evaluate --by` compares groups",
                 ("confusion",)),
        ),
        "Results: participants and data": (
            Item("24", "Flow", "a diagram of participants", ("parts", "left out", "unreadable")),
            Item("25", "Who is in each part", "age, sex, disease and devices by part", ("classes",)),
            Item("26a", "How severe", "of those who have the disease"),
            Item("26b", "What else", "other diagnoses of those who do not"),
            Item("27", "Time between test and standard", "how long, and what was done in between"),
            Item("28", "Are they like those it is meant for", "whether the disease is as frequent as there",
                 ("frequency",)),
            Item("29", "How external data differ", "from those of training and test"),
        ),
        "Results: tests": (
            Item("30", "Test against standard", "the table of both", ("confusion",), True),
            Item("31", "Accuracy and its doubt", "figures with intervals", ("figures",), True),
            Item("32", "Harm", "what went wrong by testing"),
        ),
        "Discussion": (
            Item("33", "Limits", "bias, doubt, and where else it may not hold"),
            Item("34", "What it means for practice", "use and role"),
            Item("35", "Ethics and fairness of its use", "what was considered"),
        ),
        "Other information": (
            Item("36", "Registration", "number and registry"),
            Item("37", "Protocol", "where it can be read", ("files",)),
            Item("38", "Funding", "who paid, and what part they had"),
            Item("39", "Commercial interests", "whose, and which"),
            Item("40a", "Data and code", "where each can be had, and on which terms", ("version", "licence")),
            Item("40b", "Can its answers be examined", "where they are kept", ("stored answers",), True),
        ),
    },
)  # fmt: skip
CHECKLISTS = (CLAIM, STARD_AI)
