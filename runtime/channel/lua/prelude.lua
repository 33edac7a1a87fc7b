-- Put before every other script: names for the keys of a run, what the run's hash says, and how a run ends.
--
-- KEYS of every script, all beginning with biglambda:{RUN}: so that a cluster keeps them together
--   1 ...m  HASH    version, workers, word (run, done or abort), ttl and linger (ms), why, owner
--                   t<w>: token of the attempt that is worker w; f<token>: a token that was replaced
--                   n<w>, b<w>: number of that attempt, and its signs of life so far
--                   x<w>:<target>: an attempt of worker w computes on this target
--   2 ...a  HASH    the current iteration: <level>:<index>: a node of the tree; d<w>: worker w has pushed
--                   how, and bytes (length of a partial that is summed), root (the finished sum)
--   3 ...s  STREAM  v-0: the state of iteration v and whether it is the last; v-1: why the run ended there
--   4 ...l  STRING  token of the attempt that computes the next state; expires, so that another can
--   5 ...c  STRING  there as long as the client renews it
--   6 ...e  STREAM  one entry as soon as the run has ended
--
-- Lua does not roll back: every script validates all it was given before its first write.

-- What a caller sent may be in a message: cut short, and without what a terminal would obey.
local function refuse(message)
  return redis.error_reply('BADCALL ' .. string.gsub(string.sub(message, 1, 200), '[^ -~]', '?'))
end

if #KEYS ~= 6 then return refuse('a script takes 6 keys, not ' .. #KEYS) end
local META, PARTIALS, STATES, LEASE, CLIENT, ENDING = unpack(KEYS)
local run = redis.call('HMGET', META, 'version', 'workers', 'word', 'ttl', 'linger', 'why')
local version, workers, word = tonumber(run[1]), tonumber(run[2]), run[3]
local ttl, linger, why = run[4], run[5], run[6] or ''

local LAST = (workers or 10 ^ 6) - 1  -- worker
local MOST = 10 ^ 12  -- milliseconds, or iterations; Lua writes numbers up to 10^14 without an exponent

-- Every script begins with these two: the refusal of a call with arguments missing or left over, or nil;
local function miscounted(takes)
  if #ARGV ~= takes then return refuse('this script takes ' .. takes .. ' arguments, not ' .. #ARGV) end
end

-- and that of an argument that is no integer from low to high.
local function unlike(what, at, low, high)
  local text = ARGV[at]
  local number = (text == '0' or string.find(text, '^[1-9]%d*$')) and tonumber(text)
  if not number or number < low or number > high then
    return refuse(what .. ' is an integer from ' .. low .. ' to ' .. high .. ', not ' .. text)
  end
end

-- Nil if an attempt is the worker; FENCED if another one is; AHEAD if none is: the server lost that it had joined.
local function set_aside(worker, token)
  local holder = redis.call('HGET', META, 't' .. worker)
  if holder ~= token then return holder and 'FENCED' or 'AHEAD' end
end

local function newest_state()
  local entry = redis.call('XREVRANGE', STATES, version .. '-0', version .. '-0')[1]
  return entry and entry[2][2] or ''
end

-- A live run is kept; one that nobody touches expires.
local function keep()
  for _, key in ipairs({META, PARTIALS, STATES}) do redis.call('PEXPIRE', key, ttl) end
end

-- What remains tells late workers how the run ended, for a while.
local function end_run(outcome)
  word = outcome
  redis.call('UNLINK', PARTIALS, LEASE, ENDING)
  redis.call('HSET', META, 'word', word)
  redis.call('XADD', ENDING, 'MAXLEN', 1, '*', 'word', word)
  for _, key in ipairs({META, STATES, ENDING}) do redis.call('PEXPIRE', key, linger) end
end

local function abort_run(reason)
  why = reason
  newest_state()  -- an error before anything is written, if somebody else keeps something there
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
