"""The filter that upstream's template uses, without the collection that it comes from."""

from __future__ import annotations

import jmespath


class FilterModule:
    def filters(self):
        return {'json_query': lambda data, expression: jmespath.search(expression, plain(data))}


def plain(value):
    """JMESPath knows the standard containers and strings only."""
    if hasattr(value, 'items'):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
