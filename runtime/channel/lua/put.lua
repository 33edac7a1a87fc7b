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

local reply = miscounted(7) or unlike('level', 5, 0, 20) or unlike('index', 6, 0, LAST) or not_now()
if reply then return reply end
local level, index = tonumber(ARGV[5]), tonumber(ARGV[6])

-- How many nodes a level has.
local function width(of)
  local nodes = workers
  for _ = 1, of do nodes = math.floor((nodes + 1) / 2) end
  return nodes
end

if index >= width(level) or (level == 0 and index ~= worker) or
    (level > 0 and width(level - 1) == 1) then
  return refuse('worker ' .. worker .. ' cannot put the node ' .. ARGV[5] .. ':' .. ARGV[6])
end

local function node(of, at) return redis.call('HGET', PARTIALS, of .. ':' .. at) end

-- A finished sum, or two siblings whose parent did not come, from whoever let the lease expire.
local function take_over()
  reply = finished()
  if reply then return reply end
  local there, of, nodes = {}, 0, workers
  for _, name in ipairs(redis.call('HKEYS', PARTIALS)) do there[name] = true end
  while nodes > 1 do
    for at = 0, nodes - 2, 2 do
      if there[of .. ':' .. at] and there[of .. ':' .. at + 1] then
        if take() then return {'CLIMB', version, node(of, at), of + 1, at / 2, node(of, at + 1)} end
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

local own, first = bytes_of(ARGV[7], 'climb')
if not own then return first end
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
  if redis.call('GET', LEASE) == token then redis.call('DEL', LEASE) end
  redis.call('HDEL', PARTIALS, (level - 1) .. ':' .. 2 * index, (level - 1) .. ':' .. 2 * index + 1)
end
redis.call('HSET', PARTIALS, 'd' .. worker, '1', nodes > 1 and (of .. ':' .. at) or 'root', own)
if first then
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
