-- Put before push and put, which give partials: their first arguments, and what they have in common.
--
-- ARGV  1 iteration  2 worker  3 token  4 lease (ms)

if not version then return {'GONE', 0, ''} end
local iteration, worker = integer(ARGV[1], 1, 2 ^ 53), integer(ARGV[2], 0, workers - 1)
local token, lease = ARGV[3], ARGV[4]
if not iteration then return refuse('iteration ' .. ARGV[1] .. ' is not a positive integer') end
if not worker then return refuse('worker ' .. ARGV[2] .. ' is not from 0 to ' .. (workers - 1)) end
if not integer(lease, 1, 2 ^ 40) then return refuse('a lease is a positive integer, in milliseconds') end

-- The reply if this attempt has nothing to give now, or nil.
local function not_now()
  if redis.call('HGET', META, 't' .. worker) ~= token then
    return {word == 'abort' and 'ABORT' or 'FENCED', version, why}
  end
  abort_if_client_is_gone()
  if word == 'abort' then return {'ABORT', version, why} end
  if word == 'done' then return {'DONE', version, ''} end
  if iteration < version then return {'STALE', version, ''} end
  if iteration > version then return {'AHEAD', version, ''} end
end

-- Take the lease, unless it is another attempt's.
local function take()
  local holder = redis.call('GET', LEASE)
  if holder and holder ~= token then return false end
  redis.call('SET', LEASE, token, 'PX', lease)
  return true
end

-- The reply if the sum is finished, or nil: its bytes for whoever gets the lease.
local function finished()
  local root = redis.call('HGET', PARTIALS, 'root')
  if root then return take() and {'LAST', version, root} or {'WAIT', version, ''} end
end

-- The bytes of a partial and whether it is the iteration's first, or nil and why it is refused.
local function bytes_of(partial, how)
  local intact, message, more = pcall(cmsgpack.unpack, partial)
  local bytes = intact and more == nil and type(message) == 'table' and message.t
  if type(bytes) ~= 'string' then return nil, refuse('a partial is msgpack {"t": float64 bytes as str}') end
  if #bytes % 8 ~= 0 then return nil, refuse('a partial is float64s, not ' .. #bytes .. ' bytes') end
  local agreed = redis.call('HMGET', PARTIALS, 'how', 'bytes')
  if agreed[1] and agreed[1] ~= how then
    return nil, refuse('the others combine this iteration by ' .. agreed[1] .. ', not by ' .. how)
  end
  if how ~= 'gather' and agreed[2] and tonumber(agreed[2]) ~= #bytes then
    return nil, refuse('a partial has ' .. #bytes .. ' bytes, those of the others ' .. agreed[2])
  end
  return bytes, not agreed[1]
end

