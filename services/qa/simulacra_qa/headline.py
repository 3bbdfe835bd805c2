"""The one sentence above all numbers, and verdicts that do not contradict what stands out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulacra_qa.verdict import TOO_FEW_ROWS, Finding, Level, Verdict

__all__ = ["consistent", "headline"]

_GRAVITY = {Level.GOOD: 0, Level.NOTE: 0, Level.FAIR: 1, Level.POOR: 2}
_ACCURACY = ("univariate", "bivariate", "trivariate", "coherence")
# What is not about accuracy is about single records, but for the metrics that tell all rows apart.
_NOT_PRIVACY = (*_ACCURACY, "overall", "discriminator", "similarity", "utility", "relations", "intended")
_YET = "Yet single columns or links are wrong: see what stands out."


def consistent(verdicts: Mapping[str, Verdict], findings: Sequence[Finding]) -> dict[str, Verdict]:
    """Returns the verdicts, none of them better than the gravest finding about the same thing."""
    result = dict(verdicts)
    for finding in findings:
        name = finding.metric if finding.metric in _NOT_PRIVACY else "distances"
        verdict = result.get(name)
        if verdict is not None and _GRAVITY[finding.level] > _GRAVITY[verdict.level]:
            result[name] = replace(verdict, level=finding.level, text=f"{verdict.text} Yet: {finding.text}")
    overall = result.get("overall")
    wrong = any(result[name].level is Level.POOR for name in _ACCURACY if name in result)
    if overall is not None and wrong and overall.level is Level.GOOD:
        result["overall"] = replace(overall, level=Level.FAIR, text=f"{overall.text} {_YET}")
    return result


def headline(
    verdicts: Mapping[str, Verdict],
    findings: Sequence[Finding],
    *,
    of_dataset: bool = False,
    of_a_part: bool = False,
) -> Finding:
    """Says in one sentence what to think of the data: the gravest of accuracy and of privacy.

    Of data of which only a part of the original was asked for, it says that they cannot be judged.
    """
    if of_a_part:
        return Finding(Level.NOTE, "headline", _ON_A_PART)
    levels = {"privacy": Level.GOOD, "accuracy": Level.GOOD}
    judged = [(name, verdict.level) for name, verdict in verdicts.items()]
    for name, level in [*judged, *((finding.metric, finding.level) for finding in findings)]:
        side = "accuracy" if name in _NOT_PRIVACY else "privacy"
        levels[side] = max(levels[side], level, key=lambda each: _GRAVITY[each])
    if levels["privacy"] is not Level.POOR and any(finding.metric == TOO_FEW_ROWS for finding in findings):
        return Finding(Level.NOTE, "headline", _ON_NOTHING)
    tested = "distances" in verdicts
    texts = [_ON_PRIVACY[levels["privacy"]] if tested else "", _ON_ACCURACY[levels["accuracy"]]]
    if not tested and not of_dataset:
        texts.append("Privacy was not tested, for there is no holdout.")
    gravest = max(levels.values(), key=lambda each: _GRAVITY[each])
    return Finding(gravest, "headline", " ".join(text for text in texts if text))


_ON_NOTHING = "There are too few rows to judge: the figures below are no evidence for or against these data."
_ON_A_PART = "Only a part of the original was asked for: the figures below are no judgement of these data."
_ON_PRIVACY = {
    Level.POOR: "Do not share these data: they tell of single training records.",
    Level.FAIR: "Be careful before you share these data: there is a weak trace of single training records.",
    Level.GOOD: "No test found a trace of single training records.",
}
_ON_ACCURACY = {
    Level.POOR: "The data differ clearly from the original: read what is listed below before you use them.",
    Level.FAIR: "The data are close to the original, with the differences that are listed below.",
    Level.GOOD: "The data are as close to the original as can be expected.",
}
