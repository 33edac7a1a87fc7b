-- For large partials: store a node of the run's tree, and tell its worker what to add to it. The worker puts the
-- sum at the node that the reply names, and so climbs until a sibling is missing or the root is there. It is the
-- tree of push.lua, so the bits are the same. Nodes stay until their sum is stored: if the worker that adds dies,
-- its lease expires, or its replacement comes, and whoever asks next of those below gets the same to do.
-- Putting again changes nothing.
--
-- KEYS  see prelude.lua
-- ARGV  1 iteration  2 worker  3 token  4 lease (ms)
--       5 node: '' for the worker's own partial, or the node that the reply before this one named
--       6 partial, as in push.lua: the worker's own, or the sum; '' to probe without putting
-- Reply {word, version, bytes, node}; beyond the words of push.lua
--       ADD      bytes are a list: add them up in this order, and put the sum at the node. If the first is '' it is
--                the partial just put
--       LAST     if bytes are '' they are the partial just put

local refusal = objection()
if refusal then return refusal end
local worker, token, node = tonumber(ARGV[2]), ARGV[3], ARGV[5]
local names, siblings = way_up(worker)

local function stored(name) return redis.call('HEXISTS', PARTIALS, name) == 1 end

local target = node == '' and 1
for at, name in ipairs(names) do target = target or name == node and at end
if not target then return refuse('node ' .. node .. ' is not above worker ' .. worker) end

local pushed = stored('d' .. worker)
if not pushed and (node ~= '' or ARGV[6] == '') then return {'MISSING', version, ''} end
local at = 1  -- of the node that this worker's partial is in by now
while pushed and at < #names and not stored(names[at]) do at = at + 1 end

local put = not pushed
if node ~= '' then
  put = target > at
  for below = at, target - 1 do put = put and stored(siblings[below]) end
end
if put then
  local own, first = float64s(ARGV[6], 'climb')
  if not own then return first end
  if node ~= '' then
    redis.call('HDEL', PARTIALS, names[at], unpack(siblings, at, target - 1))
    redis.call('HDEL', PARTIALS, 'l' .. names[at + 1])
  end
  at = target
  store(names[at], own)
  if node == '' then count(worker, 'climb', #own, first) end
end

if names[at] == 'root' then return offer(put and '' or redis.call('HGET', PARTIALS, 'root')) end
if not stored(siblings[at]) then return {'WAIT', version, ''} end

-- One at a time adds the same two nodes; a replaced attempt is not waited for.
local lease, time = 'l' .. names[at + 1], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires, holder = string.match(redis.call('HGET', PARTIALS, lease) or '', '^(%d+) (.*)$')
if holder and holder ~= token and tonumber(expires) > now and redis.call('HEXISTS', META, 'f' .. holder) == 0 then
  return {'WAIT', version, ''}
end
store(lease, string.format('%.0f %s', now + ARGV[4], token))

local addends = {put and '' or redis.call('HGET', PARTIALS, names[at])}
repeat
  addends[#addends + 1] = redis.call('HGET', PARTIALS, siblings[at])
  at = at + 1
until names[at] == 'root' or not stored(siblings[at])
return {'ADD', version, addends, names[at]}
