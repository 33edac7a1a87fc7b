-- Put a worker's partial at its leaf of the run's tree and merge upwards as far as siblings are there.
-- The tree is fixed by the worker ids and an addition commutes, so the sum's bits do not depend on who came
-- first. The one whose push completes the tree gets the sum. Pushing again changes nothing; it, or a probe,
-- also takes over from a worker that got the sum and let its lease expire.
--
-- KEYS  see prelude.lua
-- ARGV  1 iteration  2 worker  3 token  4 lease (ms)  5 how ('sum' or 'gather')
--       6 partial: msgpack {"t": float64 bytes as str}, or '' to probe without pushing
-- Reply {word, version, bytes}
--       LAST     the sum is complete: compute the next state from these bytes and publish it by finish
--       WAIT     counted (now or before); read the next state from the stream
--       MISSING  a probe found that nothing of this worker is here: push again
--       STALE, DONE  the next state is in the stream
--       AHEAD    this iteration has not begun, or the worker has not joined: the server lost data
--       ABORT    the run was aborted; bytes are the reason
--       FENCED   another attempt is this worker
--       GONE     no such run

local CHUNK = '<' .. ('d'):rep(32)
local unpack_, pack = struct.unpack, struct.pack

-- Adds float64 vectors, 32 elements at a time: a loop over single elements takes several times as long.
local function add(own, others)
  local parts, at = {}, 1
  while at + 255 <= #own do
    local a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
      a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31
      = unpack_(CHUNK, own, at)
    for _, other in ipairs(others) do
      local b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16, b17, b18, b19, b20,
        b21, b22, b23, b24, b25, b26, b27, b28, b29, b30, b31
        = unpack_(CHUNK, other, at)
      a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21,
      a22, a23, a24, a25, a26, a27, a28, a29, a30, a31
        = a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4, a5 + b5, a6 + b6, a7 + b7, a8 + b8, a9 + b9,
        a10 + b10, a11 + b11, a12 + b12, a13 + b13, a14 + b14, a15 + b15, a16 + b16, a17 + b17, a18 + b18,
        a19 + b19, a20 + b20, a21 + b21, a22 + b22, a23 + b23, a24 + b24, a25 + b25, a26 + b26, a27 + b27,
        a28 + b28, a29 + b29, a30 + b30, a31 + b31
    end
    parts[#parts + 1] = pack(CHUNK,
      a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21,
      a22, a23, a24, a25, a26, a27, a28, a29, a30, a31)
    at = at + 256
  end
  while at <= #own do
    local sum = unpack_('<d', own, at)
    for _, other in ipairs(others) do sum = sum + unpack_('<d', other, at) end
    parts[#parts + 1] = pack('<d', sum)
    at = at + 8
  end
  return table.concat(parts)
end

local reply = miscounted(6) or not_now()
if reply then return reply end
local how = ARGV[5]
if how ~= 'sum' and how ~= 'gather' then return refuse('partials are combined by sum or gather, not ' .. how) end

if redis.call('HEXISTS', PARTIALS, 'd' .. worker) == 1 then return finished() or {'WAIT', version, ''} end
if ARGV[6] == '' then return {'MISSING', version, ''} end

local own, first = bytes_of(ARGV[6], how)
if not own then return first end

-- Climb from the leaf: node i of a level of n nodes has the sibling next to it, or none if n is odd and it the last.
local level, index, nodes = 0, worker, workers
local others, names, length = {}, {}, #own
local before, after = {}, {}
while nodes > 1 do
  local left = index % 2 == 0
  local sibling = left and index + 1 or index - 1
  if sibling < nodes then
    local name = level .. ':' .. sibling
    local bytes = redis.call('HGET', PARTIALS, name)
    if not bytes then break end
    names[#names + 1], others[#others + 1] = name, bytes
    if left then after[#after + 1] = bytes else table.insert(before, 1, bytes) end
  end
  level, index, nodes = level + 1, math.floor(index / 2), math.floor((nodes + 1) / 2)
end
if #others > 0 then
  if how == 'sum' then
    own = add(own, others)
  else
    own = table.concat(before) .. own .. table.concat(after)
  end
end

if #names > 0 then redis.call('HDEL', PARTIALS, unpack(names)) end
redis.call('HSET', PARTIALS, 'd' .. worker, '1', nodes > 1 and (level .. ':' .. index) or 'root', own)
if first then
  redis.call('HSET', PARTIALS, 'how', how, 'bytes', length)
  keep()
end
if nodes > 1 then return {'WAIT', version, ''} end
redis.call('SET', LEASE, token, 'PX', lease)
return {'LAST', version, own}
