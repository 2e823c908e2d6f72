"""The command line of the trainer's example script, without torch: its own functions, run alone. Arguments in, JSON out."""

import argparse
import ast
import json
import os
import sys
from pathlib import Path

WANTED = {"_str2bool", "_default_model_tag", "_resolve_default_paths", "_parse_args"}

script, *arguments = sys.argv[1:]
tree = ast.parse(Path(script).read_text())
kept = [
    node
    for node in tree.body
    if (isinstance(node, ast.FunctionDef) and node.name in WANTED)
    or (isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id.startswith("G_") for t in node.targets))
]
future = ast.parse("from __future__ import annotations").body
namespace = {"argparse": argparse, "os": os, "Path": Path, "sys": sys, "__file__": script}
exec(compile(ast.Module(body=future + kept, type_ignores=[]), script, "exec"), namespace)
sys.argv = [script, *arguments]
print(json.dumps(vars(namespace["_parse_args"]()), default=str))
