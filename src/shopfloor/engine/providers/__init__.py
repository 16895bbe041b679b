"""Models behind one port: kinds of provider, prices, usage, retries and fail-over.

Who calls it: the agents' loop (`chain.ChainModel`), the rooms that store prices and credentials (`seed`, `pricing`,
`model_list`, `probe`), the CLI (`catalogue.credentials_from_env`). No SDK of a provider is imported before it is used.

    Candidate -> catalogue.connect -> builders (one per kind) -> Pydantic AI model
    request   -> input_bound, pricing: at most so much -> Meter.hold -> call -> usage, pricing -> settle
                                                                     -> errors -> release | unknown -> attempts: again?
"""
