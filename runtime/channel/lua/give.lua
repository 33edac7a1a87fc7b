-- Put before push and put, which give partials: their first arguments, and what they have in common.
--
-- ARGV  1 iteration  2 worker  3 token  4 lease (ms)

local iteration, worker, token, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- The reply to a call that is malformed, or whose attempt has nothing to give now; or nil.
local function not_now()
  local reply = unlike('iteration', 1, 1, MOST) or unlike('worker', 2, 0, LAST) or unlike('lease', 4, 1, MOST)
  if reply then return reply end
  if not version then return {'GONE', 0, ''} end
  local aside = set_aside(worker, token)
  if aside then return {word == 'abort' and 'ABORT' or aside, version, why} end
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
  -- What begins as a map of one 't' is, if it can be read, a table; it ends at -1 if nothing follows.
  local intact, ends, message = pcall(cmsgpack.unpack_one, partial)
  local bytes = intact and ends == -1 and string.sub(partial, 1, 3) == '\129\161t' and message.t
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

