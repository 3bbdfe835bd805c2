"""From a frame to synthetic rows, as in a notebook: `python examples/quickstart.py`.

Without an address a platform is started for this script; give one by SIMULACRA_ADDRESS and SIMULACRA_API_KEY.
"""

import numpy as np
import pandas as pd

from simulacra import Simulacra


def customers(rows: int = 5_000) -> pd.DataFrame:
    """Returns a made-up table whose columns depend on each other."""
    draw = np.random.default_rng(0)
    age = draw.integers(18, 90, rows)
    return pd.DataFrame(
        {
            "age": age,
            "city": draw.choice(["Graz", "Linz", "Wien"], rows, p=[0.2, 0.3, 0.5]),
            "income": (age * 700 + draw.normal(0, 5_000, rows)).round(2),
            "member": draw.random(rows) < age / 120,
        }
    )


def main() -> None:
    """Trains, reports, generates and probes."""
    with Simulacra() as simulacra:
        generator = simulacra.train(data=customers(), name="customers", seed=1)
        print(f"accuracy {generator.accuracy:.1%}; the report is in {generator.report()}")

        dataset = simulacra.generate(generator, size=1_000, seed=1)
        print(dataset.data())

        print(simulacra.probe(generator, size=3))


if __name__ == "__main__":
    main()
