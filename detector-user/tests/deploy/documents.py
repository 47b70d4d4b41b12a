"""Reads YAML documents, checks each strictly against the schemas of the Kubernetes versions that are named, prints them as JSON."""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml


class Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, as an API server does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def closed(schema):
    """Has every object refuse what it does not know."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            closed(part)
    elif isinstance(schema, list):
        for part in schema:
            closed(part)
    return schema


def check(document, version):
    if document["apiVersion"] == "monitoring.coreos.com/v1":
        # Slow to import.
        from cloudcoil.models.prometheus_operator import v1 as operator

        schema = getattr(operator, document["kind"]).model_json_schema()
        # Not checked itself: it has a pattern that only Go understands.
        jsonschema.Draft202012Validator(closed(schema)).validate(document)
    else:
        kubernetes_validate.validate(document, version, strict=True)


documents = [one for one in yaml.load_all(sys.stdin, Loader) if one]
for document in documents:
    for version in sys.argv[1:]:
        try:
            check(document, version)
        except Exception as error:
            path = ".".join(map(str, getattr(error, "path", [])))
            sys.exit(f"{document['kind']} for {version}: {path}: {getattr(error, 'message', error)}")
json.dump(documents, sys.stdout)
