"""The two scripts that Redis runs for `completions.shared_limits`: each in one go, so that nothing comes in between.

Arguments: the asking process, the time, and until when its word holds (both in milliseconds), then for each claim

    rate  amount  limit  share of the last period  seconds to keep        keys: this period, the last one
    held  amount  limit  needed  spent  spending  seconds to keep         key: a hash of "amount until" by process, and `spent`
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from completions.claims import Held, Rate

_COMMON = """
local process, now, stale_at = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local function held_by_others(key)
  local sum, fields = 0, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if fields[i] ~= 'spent' and fields[i] ~= process then
      local amount, until_ = string.match(fields[i + 1], '^(%-?%d+) (%d+)$')
      if tonumber(until_) < now then redis.call('HDEL', key, fields[i]) else sum = sum + tonumber(amount) end
    end
  end
  return sum
end
local function spend(key, known, more)
  local spent = tonumber(redis.call('HGET', key, 'spent') or '0')
  local sum = math.max(spent + more, known)
  if sum ~= spent then redis.call('HSET', key, 'spent', string.format('%.0f', sum)) end
end
local function hold(key, amount, lasts)
  if amount == '0' then redis.call('HDEL', key, process) else redis.call('HSET', key, process, amount .. ' ' .. stale_at) end
  redis.call('EXPIRE', key, lasts)
end
local function count(key, amount, lasts)
  local value = redis.call('INCRBY', key, amount)
  if value < 0 then redis.call('SET', key, 0) end
  redis.call('EXPIRE', key, lasts)
  return math.max(value, 0)
end
"""
CLAIM = (
    _COMMON
    + """
local k, a, position, answer = 1, 4, 1, {1, 0, 0, 0}
local function tell(first, second)
  answer[#answer + 1], answer[#answer + 2] = first, second
end
local function deny(used, spent)
  answer[1], answer[2], answer[3], answer[4] = 0, position, used, spent
  return answer
end
while a <= #ARGV do
  if ARGV[a] == 'rate' then
    local present = tonumber(redis.call('GET', KEYS[k]) or '0')
    local last = tonumber(redis.call('GET', KEYS[k + 1]) or '0')
    local used = present + last * ARGV[a + 3]
    tell(present, last)
    if used + tonumber(ARGV[a + 1]) > tonumber(ARGV[a + 2]) then return deny(math.ceil(used), 0) end
    k, a = k + 2, a + 5
  else
    local spent = math.max(tonumber(redis.call('HGET', KEYS[k], 'spent') or '0'), tonumber(ARGV[a + 4]))
    local others = held_by_others(KEYS[k])
    local used = spent + others + tonumber(ARGV[a + 1])
    tell(others, spent)
    if tonumber(ARGV[a + 3]) > 0 and used > tonumber(ARGV[a + 2]) then return deny(used - tonumber(ARGV[a + 3]), spent) end
    k, a = k + 1, a + 7
  end
  position = position + 1
end
k, a, position = 1, 4, 1
while a <= #ARGV do
  if ARGV[a] == 'rate' then
    answer[3 + 2 * position] = count(KEYS[k], ARGV[a + 1], ARGV[a + 4])
    k, a = k + 2, a + 5
  else
    spend(KEYS[k], tonumber(ARGV[a + 4]), 0)
    hold(KEYS[k], ARGV[a + 1], ARGV[a + 6])
    k, a = k + 1, a + 7
  end
  position = position + 1
end
return answer
"""
)
"""All claims or none. Answers {fits, position of the first that does not, what is used there, what is spent there}, and then two
counters for each claim that was looked at: `completions.heard.Counters`."""
NOTE = (
    _COMMON
    + """
local k, a = 1, 4
while a <= #ARGV do
  if ARGV[a] == 'rate' then
    if redis.call('EXISTS', KEYS[k]) == 1 then count(KEYS[k], ARGV[a + 1], ARGV[a + 4]) end
    k, a = k + 2, a + 5
  else
    spend(KEYS[k], tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]))
    hold(KEYS[k], ARGV[a + 1], ARGV[a + 6])
    k, a = k + 1, a + 7
  end
end
return 1
"""
)
"""Changes that are told, not asked."""

CLAIM_SHA, NOTE_SHA = (hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (CLAIM, NOTE))


class Asking(NamedTuple):
    """Which process asks, when, and until when its word holds, in epoch seconds."""

    process: str
    now: float
    stale_at: float


def spell(claims: Sequence[Rate | Held], asking: Asking, prefix: str) -> tuple[list[str], list[str | int | float]]:
    """Keys, each beginning with `prefix`, and arguments as the scripts read them."""
    keys: list[str] = []
    arguments: list[str | int | float] = [asking.process, int(asking.now * 1000), int(asking.stale_at * 1000)]
    for claim in claims:
        name = prefix + claim.name
        if isinstance(claim, Rate):
            index, into = divmod(claim.at, claim.period_s)
            keys += (f"{name}:{int(index)}", f"{name}:{int(index) - 1}")
            arguments += ("rate", claim.amount, claim.limit, 1 - into / claim.period_s, claim.period_s * 2)
        else:
            keys.append(name)
            arguments += (
                "held", claim.amount, claim.limit, claim.needed, claim.spent, claim.spending, claim.lasts_s,
            )  # fmt: skip
    return keys, arguments
