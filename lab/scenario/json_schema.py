"""The JSON Schema of scenarios, generated from the types: editors complete and check with it while one writes."""

from __future__ import annotations

import json
from typing import Any

from lab.inside.servers import MODELS
from lab.measures import MEASURES
from lab.scenario.schema import Scenario


def json_schema() -> dict[str, Any]:
    """Return the schema as plain data (JSON Schema 2020-12)."""
    schema = Scenario.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Wirelab scenario"
    definitions = schema["$defs"]
    definitions["Server"]["properties"]["model"]["enum"] = list(MODELS)
    listed = "; ".join(f"{m.name} ({m.unit}): {m.meaning}" for m in MEASURES)
    definitions["Expectation"]["properties"]["what"]["description"] += f" They are: {listed}."
    return schema


def json_schema_text() -> str:
    """Return the schema as the text of `scenarios/scenario.schema.json`."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
