"""Text in ISO format: each way to write dates and times is recognised, and written again as it was."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from simulacra.engine.codecs import DatetimeCodec, FitOptions, fit_codec
from simulacra.engine.codecs.iso import IsoForm, is_iso_text
from simulacra.errors import UnsupportedData

FORMS = {
    "2013-01-01": IsoForm(),
    "2013-01-01 06:00": IsoForm(" ", "min"),
    "2013-01-01T06:00:00": IsoForm("T", "s"),
    "2013-01-01T06:00:00Z": IsoForm("T", "s", "Z"),
    "2013-01-01 06:00:00+00:00": IsoForm(" ", "s", "+00:00"),
    "2013-01-01T06:00:00.125Z": IsoForm("T", "ms", "Z"),
    "2013-01-01 06:00:00.125250": IsoForm(" ", "us"),
}


@pytest.mark.parametrize("text", FORMS)
def test_each_form_is_found_and_written_again(text: str) -> None:
    form = FORMS[text]
    assert IsoForm.of(pa.array([None, text])) == form
    hours = np.arange(2000) % 24
    days = np.arange(2000) // 24
    step = {"": 0, "min": 60, "s": 1, "ms": 1000, "us": 1_000_000}[form.clock]
    per_second = {"ms": 1000, "us": 1_000_000}.get(form.clock, 1)
    ticks = (days * 86_400 + (hours * 3600 if form.clock else 0)) * per_second + (step and 17 * step)
    column = form.write(pa.array(ticks).cast(pa.timestamp(form.unit)))
    assert len(column[0].as_py()) == len(text)
    assert is_iso_text(column)
    codec = fit_codec(column, "AUTO", FitOptions())
    assert isinstance(codec, DatetimeCodec)
    again = codec.decode(codec.encode(column), np.random.default_rng(0))
    assert again.type == column.type
    assert is_iso_text(again)
    assert IsoForm.of(again) == form
    if form.clock:
        assert set(pc.utf8_slice_codeunits(again, 11).to_pylist()) <= set(
            pc.utf8_slice_codeunits(column, 11).to_pylist()
        )


@pytest.mark.parametrize(
    "texts",
    [
        ["2013-01-01T06:00:00Z", "2013-01-01T06:00:00"],
        ["2013-01-01", "2013-02-30"],
        ["2013-01-01 06:00:00.1"],
        ["2013-01-01T06:00:00+02:00"],
        ["2013-1-1"],
        [None],
    ],
)
def test_what_could_not_be_written_again_is_no_date(texts: list[str | None]) -> None:
    assert not is_iso_text(pa.array(texts, pa.string()))


def test_dates_among_times_are_read_and_anything_else_is_named() -> None:
    form = IsoForm("T", "s", "Z")
    read = form.read(pa.array(["2013-01-02", "2013-01-02 06:00", "2013-01-02T06:00:01Z", None]))
    assert read.cast(pa.int64()).to_pylist() == [1357084800, 1357106400, 1357106401, None]
    with pytest.raises(UnsupportedData, match="tomorrow"):
        form.read(pa.array(["2013-01-02", "tomorrow"]))
