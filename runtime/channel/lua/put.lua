-- Keep a node of the run's tree; whoever puts the second of two siblings adds them and puts the sum as their parent.
-- So large partials are added by the workers, and the server only keeps them. Both siblings stay until their parent
-- is there: nothing is lost with a worker that dies in between. Putting again changes nothing; it, or a probe, also
-- takes over an addition, or the finished sum, from a worker that let its lease expire.
--
-- KEYS  see prelude.lua
-- ARGV  1 iteration  2 worker  3 token  4 lease (ms)  5 level and  6 index of the node: 0 and the worker for its own
--       partial  7 msgpack {"t": float64 bytes as str}, or '' to probe
-- Reply {word, version, bytes, level, index, bytes of the other child}; '' for bytes that were just put
--       CLIMB    add the two, and put the sum as the node at level and index
--       LAST     the sum is complete: compute the next state and publish it by finish
--       WAIT, MISSING, STALE, DONE, AHEAD, ABORT, FENCED, GONE: as push.lua has them

if not version then return {'GONE', 0, ''} end
local iteration, worker = integer(ARGV[1], 1, 2 ^ 53), integer(ARGV[2], 0, workers - 1)
local token, lease = ARGV[3], ARGV[4]
local level, index = integer(ARGV[5], 0, 20), integer(ARGV[6], 0, workers - 1)
if not iteration then return refuse('iteration ' .. ARGV[1] .. ' is not a positive integer') end
if not worker then return refuse('worker ' .. ARGV[2] .. ' is not from 0 to ' .. (workers - 1)) end
if not integer(lease, 1, 2 ^ 40) then return refuse('a lease is a positive integer, in milliseconds') end

-- How many nodes a level has.
local function width(of)
  local nodes = workers
  for _ = 1, of do nodes = math.floor((nodes + 1) / 2) end
  return nodes
end

if not level or not index or index >= width(level) or (level == 0 and index ~= worker) or
    (level > 0 and width(level - 1) == 1) then
  return refuse('worker ' .. worker .. ' cannot put the node ' .. ARGV[5] .. ':' .. ARGV[6])
end

if redis.call('HGET', META, 't' .. worker) ~= token then
  return {word == 'abort' and 'ABORT' or 'FENCED', version, why}
end
abort_if_client_is_gone()
if word == 'abort' then return {'ABORT', version, why} end
if word == 'done' then return {'DONE', version, ''} end
if iteration < version then return {'STALE', version, ''} end
if iteration > version then return {'AHEAD', version, ''} end

local function node(of, at) return redis.call('HGET', PARTIALS, of .. ':' .. at) end

-- The lease is free, or this attempt's own.
local function take()
  local holder = redis.call('GET', LEASE)
  if holder and holder ~= token then return false end
  redis.call('SET', LEASE, token, 'PX', lease)
  return true
end

-- A finished sum, or two siblings whose parent did not come, from whoever let the lease expire.
local function take_over()
  local root = redis.call('HGET', PARTIALS, 'root')
  if root then
    if take() then return {'LAST', version, root} end
    return {'WAIT', version, ''}
  end
  local of, nodes = 0, workers
  while nodes > 1 do
    for at = 0, nodes - 2, 2 do
      local left = node(of, at)
      local right = left and node(of, at + 1)
      if right then
        if take() then return {'CLIMB', version, left, of + 1, at / 2, right} end
        return {'WAIT', version, ''}
      end
    end
    of, nodes = of + 1, math.floor((nodes + 1) / 2)
  end
  return {'WAIT', version, ''}
end

if ARGV[7] == '' then
  if redis.call('HEXISTS', PARTIALS, 'd' .. worker) == 0 then return {'MISSING', version, ''} end
  return take_over()
end

local intact, message, more = pcall(cmsgpack.unpack, ARGV[7])
local own = intact and more == nil and type(message) == 'table' and message.t
if type(own) ~= 'string' then return refuse('a partial is msgpack {"t": float64 bytes as str}') end
if #own % 8 ~= 0 then return refuse('a partial is float64s, not ' .. #own .. ' bytes') end
local agreed = redis.call('HMGET', PARTIALS, 'how', 'bytes')
if agreed[1] and agreed[1] ~= 'climb' then return refuse('the others combine this iteration by ' .. agreed[1]) end
if agreed[2] and tonumber(agreed[2]) ~= #own then
  return refuse('a partial has ' .. #own .. ' bytes, those of the others ' .. agreed[2])
end
if level > 0 then
  local children = {node(level - 1, 2 * index), node(level - 1, 2 * index + 1)}
  if not (children[1] and children[2]) then return take_over() end  -- somebody else put this node
elseif redis.call('HEXISTS', PARTIALS, 'd' .. worker) == 1 then
  return take_over()
end

-- A node that has no sibling is its own parent.
local at, of, nodes = index, level, width(level)
while nodes > 1 and at % 2 == 0 and at + 1 == nodes do
  at, of, nodes = at / 2, of + 1, math.floor((nodes + 1) / 2)
end
if level > 0 then
  redis.call('HDEL', PARTIALS, (level - 1) .. ':' .. 2 * index, (level - 1) .. ':' .. 2 * index + 1)
  if redis.call('GET', LEASE) == token then redis.call('DEL', LEASE) end
end
redis.call('HSET', PARTIALS, 'd' .. worker, '1', nodes > 1 and (of .. ':' .. at) or 'root', own)
if not agreed[1] then
  redis.call('HSET', PARTIALS, 'how', 'climb', 'bytes', #own)
  keep()
end
if nodes == 1 then
  redis.call('SET', LEASE, token, 'PX', lease)
  return {'LAST', version, ''}
end
local sibling = node(of, at % 2 == 0 and at + 1 or at - 1)
if not sibling then return {'WAIT', version, ''} end
return {'CLIMB', version, '', of + 1, math.floor(at / 2), sibling}
