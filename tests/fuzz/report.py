"""Prints how often each field was answered, and how; fails when a mutation of the schema never succeeded.

python report.py <file that hooks.py wrote> <schema.graphql>
"""

import json
import sys

import graphql

schema = graphql.build_schema(open(sys.argv[2]).read())
mutations = [f"Mutation.{name}" for name in schema.mutation_type.fields]
counts = json.load(open(sys.argv[1]))
for field, outcomes in sorted(counts.items()):
    told = ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items(), key=lambda pair: -pair[1]))
    print(f"{sum(outcomes.values()):6}  {field}: {told}")
print(f"{sum(sum(outcomes.values()) for outcomes in counts.values())} requests")
never = [field for field in mutations if not counts.get(field, {}).get("ok")]
if never:
    sys.exit(f"never answered without userErrors: {', '.join(sorted(never))}")
