"""YAML by libyaml where PyYAML was built with it: a tenth of the time, with the same positions in the text."""

from __future__ import annotations

import yaml

LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: type[yaml.SafeDumper] | type[yaml.CSafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
