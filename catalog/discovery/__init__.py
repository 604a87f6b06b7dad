"""What a provider says it serves: its list of models, asked for and read. Writes no rows; `routingapp.adoption` does.

offers     the body of a list, in any dialect   -> `Offer`s. Pure
asking     a provider                           -> its offers, over HTTP, within bounds
"""
