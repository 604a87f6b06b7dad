"""What a provider says it serves: its list of models, asked for and read. Writes no rows; `routingapp.adoption` does.

offers     the body of a list, in any dialect   -> `Offer`s. Pure
guard      connections that keep to the addresses that may be connected to
asking     a provider                           -> its offers, over HTTP, within bounds
"""
