"""A real HTTP server that speaks OpenAI chat completions and Anthropic messages from a scenario file, and bills it.

Called by tests, benchmarks, the demo and `shopfloor mock-provider`:

    async with serve("demo") as server:
        AsyncOpenAI(base_url=server.openai_url, api_key="sk-mock-test")
        AsyncAnthropic(base_url=server.url, api_key="sk-mock-test")
        server.bill().cost_nanos

One request's way: app (key, route) -> conversation (read) -> choose (which reply) -> answer (ready) -> faults (send),
while bill keeps the books.
"""

from shopfloor.testing.mock_provider.bill import Bill, Entry
from shopfloor.testing.mock_provider.scenario import Scenario, load, names, parse
from shopfloor.testing.mock_provider.server import Server, run_server, serve

__all__ = ["Bill", "Entry", "Scenario", "Server", "load", "names", "parse", "run_server", "serve"]
