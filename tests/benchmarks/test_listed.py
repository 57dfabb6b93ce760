"""The list of benchmarks: it has every one that can be run, and says so where a name is wrong."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks


def test_every_module_that_can_be_run_is_listed_once() -> None:
    files = Path(benchmarks.__file__).parent.glob("[!_]*.py")
    runnable = [file.stem for file in files if file.read_text().endswith('if __name__ == "__main__":\n    main()\n')]
    assert sorted(benchmarks.MODULES) == sorted(runnable)


@pytest.mark.parametrize(("name", "says"), [
    ("embeding", 'there is no benchmark "embeding"; did you mean "embedding"?'),
    ("zzz", f'there is no benchmark "zzz"; known: {", ".join(sorted(benchmarks.MODULES))}'),
])  # fmt: skip
def test_a_wrong_name_is_one_line_before_any_work(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "startup", name])
    with pytest.raises(SystemExit) as ended:
        benchmarks.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == "" and said.err.splitlines()[-1].endswith(says)
