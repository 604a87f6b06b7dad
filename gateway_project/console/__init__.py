"""The operator's console: pages of Django admin that show what the gateway does, and let people steer and try it.

site        how the pages hang in admin: addresses, the index, who may log in how often
dashboard   the index: figures and charts of a period          charts      HTML and SVG of a chart, pure
timeline    sums by hour and group, for the charts             process     what only the serving process knows
split       a model's traffic split: read, save, restore       forecast    what a split would have done, pure of effects
playground  asking models as the staff user that is logged in  story       one request, from plan to last byte
exchange    rows out to models.yaml, and back in with a diff   discovery   what a provider's /models offers
trial       one tiny request through one adapter               roles       groups of rights
throttle    guessing passwords takes long

Nothing here is imported by the apps: the composition root may know all of them, and none of them knows it.
"""
