-- Put before every other script: names for the keys of a run, what the run's hash says, and how a run ends.
--
-- KEYS of every script, all beginning with biglambda:{RUN}: so that a cluster keeps them together
--   1 ...m  HASH    version, workers, word (run, done or abort), ttl and linger (ms), why, owner
--                   t<w>: token of the attempt that is worker w; f<token>: a token that was replaced
--                   n<w>, b<w>: number of that attempt, and its signs of life so far
--                   x<w>:<target>: an attempt of worker w computes on this target
--   2 ...a  HASH    the current iteration: <level>:<index>: a node of the tree; d<w>: worker w has pushed
--                   how, and bytes (length of a partial that is summed), root (the finished sum)
--                   l<level>:<index> or lroot: who adds up to this node, and until when (put only)
--   3 ...s  STREAM  v-0: the state of iteration v and whether it is the last; v-1: why the run ended there
--   4 ...l  STRING  token of the attempt that computes the next state; expires, so that another can
--   5 ...c  STRING  there as long as the client renews it
--   6 ...e  STREAM  one entry as soon as the run has ended
--
-- Lua does not roll back: every script validates all it was given before its first write.

local META, PARTIALS, STATES, LEASE, CLIENT, ENDING = unpack(KEYS)
local run = redis.call('HMGET', META, 'version', 'workers', 'word', 'ttl', 'linger', 'why')
local version, workers, word = tonumber(run[1]), tonumber(run[2]), run[3]
local ttl, linger, why = run[4], run[5], run[6] or ''

-- An integer from low to high, or nil; for the text of an argument.
local function integer(text, low, high)
  local number = tonumber(text)
  if number and number == math.floor(number) and number >= low and number <= high then return number end
end

local function refuse(message) return redis.error_reply('BADCALL ' .. message) end

-- A live run is kept; one that nobody touches expires.
local function keep()
  for _, key in ipairs({META, PARTIALS, STATES}) do redis.call('PEXPIRE', key, ttl) end
end

-- What remains tells late workers how the run ended, for a while.
local function end_run(outcome)
  word = outcome
  redis.call('UNLINK', PARTIALS, LEASE)
  redis.call('HSET', META, 'word', word)
  redis.call('XADD', ENDING, 'MAXLEN', 1, '*', 'word', word)
  for _, key in ipairs({META, STATES, ENDING}) do redis.call('PEXPIRE', key, linger) end
end

local function abort_run(reason)
  why = reason
  -- First of all, because a server that is full allows a script to write only once it has removed something.
  redis.call('UNLINK', PARTIALS)
  redis.call('HSET', META, 'why', why)
  -- v-1 comes after v-0 and before the next state: it wakes everybody who waits for that.
  redis.call('XADD', STATES, 'MAXLEN', 2, version .. '-1', 'abort', why)
  end_run('abort')
end

-- Workers of a client that is gone would compute for nobody.
local function abort_if_client_is_gone()
  if word == 'run' and redis.call('EXISTS', CLIENT) == 0 then
    abort_run(cmsgpack.pack({error = 'RunError', message = 'client gone: it no longer renews its lease'}))
  end
end

local function newest_state()
  local entry = redis.call('XREVRANGE', STATES, version .. '-0', version .. '-0')[1]
  return entry and entry[2][2] or ''
end

-- What push and put share. Their first four arguments are iteration, worker, token and lease (ms).

-- The reply to a call that is malformed, or that does not count now; nil for one that does.
local function objection()
  if not version then return {'GONE', 0, ''} end
  local iteration, worker = integer(ARGV[1], 1, 2 ^ 53), integer(ARGV[2], 0, workers - 1)
  if not iteration then return refuse('iteration ' .. ARGV[1] .. ' is not a positive integer') end
  if not worker then return refuse('worker ' .. ARGV[2] .. ' is not from 0 to ' .. (workers - 1)) end
  if not integer(ARGV[4], 1, 2 ^ 40) then return refuse('a lease is a positive integer, in milliseconds') end

  if redis.call('HGET', META, 't' .. worker) ~= ARGV[3] then
    return {word == 'abort' and 'ABORT' or 'FENCED', version, why}
  end
  abort_if_client_is_gone()
  if word == 'abort' then return {'ABORT', version, why} end
  if word == 'done' then return {'DONE', version, ''} end
  if iteration < version then return {'STALE', version, ''} end
  if iteration > version then return {'AHEAD', version, ''} end
end

-- The way from a worker's leaf to the root: the names of the nodes on it, those of their siblings, and whether a
-- sibling comes first. Of n nodes of a level, an odd n leaves the last one without a sibling: it moves up as it is.
local function way_up(worker)
  local level, index, nodes = 0, worker, workers
  local names, siblings, comes_first = {}, {}, {}
  while nodes > 1 do
    local right = index % 2 == 1
    local sibling = right and index - 1 or index + 1
    if sibling < nodes then
      names[#names + 1], siblings[#siblings + 1] = level .. ':' .. index, level .. ':' .. sibling
      comes_first[#comes_first + 1] = right
    end
    level, index, nodes = level + 1, math.floor(index / 2), math.floor((nodes + 1) / 2)
  end
  names[#names + 1] = 'root'
  return names, siblings, comes_first
end

-- The float64 bytes of a partial that fits those of the others, and whether it is the first; or nil and a refusal.
local function float64s(payload, how)
  local intact, message, more = pcall(cmsgpack.unpack, payload)
  local own = intact and more == nil and string.sub(payload, 1, 3) == '\129\161t' and message.t
  if type(own) ~= 'string' then return nil, refuse('a partial is msgpack {"t": float64 bytes as str}') end
  if #own % 8 ~= 0 then return nil, refuse('a partial is float64s, not ' .. #own .. ' bytes') end
  local agreed = redis.call('HMGET', PARTIALS, 'how', 'bytes')
  if agreed[1] and agreed[1] ~= how then
    return nil, refuse('the others combine this iteration by ' .. agreed[1] .. ', not by ' .. how)
  end
  if how ~= 'gather' and agreed[2] and tonumber(agreed[2]) ~= #own then
    return nil, refuse('a partial has ' .. #own .. ' bytes, those of the others ' .. agreed[2])
  end
  return own, not agreed[1]
end

local function store(name, bytes) redis.call('HSET', PARTIALS, name, bytes) end

-- A worker's own partial counts from here on.
local function count(worker, how, length, first)
  redis.call('HSET', PARTIALS, 'd' .. worker, '1')
  if first then
    redis.call('HSET', PARTIALS, 'how', how, 'bytes', length)
    keep()
  end
end

-- The reply to whoever asks for the finished sum: one at a time computes the next state from it.
local function offer(root)
  local holder = redis.call('GET', LEASE)
  if holder and holder ~= ARGV[3] then return {'WAIT', version, ''} end
  redis.call('SET', LEASE, ARGV[3], 'PX', ARGV[4])
  return {'LAST', version, root}
end
