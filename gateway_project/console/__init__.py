"""The operator's console: pages of Django admin that show what the gateway does, and let people steer and try it.

site          how the pages hang in admin: addresses, the index, the login; navigation: the bar at the top
dashboard     the index: figures, charts and providers of a period
timeline      sums by moment and group, for the charts
key_charts    what one key used, on its page
charts        HTML and SVG of a chart, pure; words: its numbers
process       what only the serving process knows
traffic       all models' splits at a glance
split         a model's traffic split: read, saved, restored; split_page, split_lines, split_preview: its page
standing      whether an adapter can answer now, and why not; apportion: shares that sum to 100%, pure
lately        where requests went in the last hour
forecast      what a split would have done to the latest requests
playground    asking models as the staff user that is logged in
story         one request, from plan to last byte
adapter_test  one tiny request through one adapter
seeding       models.yaml loaded, after its diff was looked at
refused_keys  providers that refuse our key
roles         groups of rights
throttle      guessing passwords takes long

Nothing here is imported by the apps: the composition root may know all of them, and none of them knows it.
"""
