-- Make an attempt the one that is worker w, and give it the state to go on from. The attempt with the higher
-- number wins, and of two with one number (a function that was started twice) the one that joins last: the one
-- before it is fenced, and stays so even if its own join arrives once more.
--
-- KEYS  see prelude.lua
-- ARGV  1 worker  2 workers  3 token of the attempt  4 what it computes on (opaque bytes, or '')
--       5 number of the attempt, from 1
--       6 'now'; or, for a backup, 'look' to see the state and not join yet, or the iteration in which to be the
--         worker unless it has pushed in it
-- Reply {'OK' | 'LATE' | 'DONE' | 'ABORT' | 'FENCED' | 'GONE', version, state, why}
--       LATE: it has pushed, or the iteration is over

if not version then return {'GONE', 0, '', ''} end
local worker, token, target = integer(ARGV[1], 0, workers - 1), ARGV[3], ARGV[4] or ''
if tonumber(ARGV[2]) ~= workers then return refuse('this run has ' .. workers .. ' workers, not ' .. ARGV[2]) end
if not worker then return refuse('worker ' .. ARGV[1] .. ' is not from 0 to ' .. (workers - 1)) end
local attempt = integer(ARGV[5] or '1', 1, 2 ^ 31)
if not attempt then return refuse('attempts are numbered from 1, not ' .. ARGV[5]) end
local when = ARGV[6] or 'now'
local unless_pushed = integer(when, 1, 2 ^ 53)
if when ~= 'now' and when ~= 'look' and not unless_pushed then return refuse('join now, or look, not ' .. when) end
if token == '' then return refuse('an attempt needs a token') end

abort_if_client_is_gone()
if word == 'done' then return {'DONE', version, newest_state(), ''} end
if word == 'abort' then return {'ABORT', version, '', why} end
local newest = tonumber(redis.call('HGET', META, 'n' .. worker) or 0)
if attempt < newest or redis.call('HEXISTS', META, 'f' .. token) == 1 then return {'FENCED', version, '', ''} end

if when == 'look' then return {'OK', version, newest_state(), ''} end
if unless_pushed and (unless_pushed ~= version or redis.call('HEXISTS', PARTIALS, 'd' .. worker) == 1) then
  return {'LATE', version, '', ''}
end

local before = redis.call('HGET', META, 't' .. worker)
if before and before ~= token then
  redis.call('HSET', META, 'f' .. before, worker)
  -- If it was computing the next state, nobody needs to wait for its lease to expire.
  if redis.call('GET', LEASE) == before then redis.call('DEL', LEASE) end
end
redis.call('HSET', META, 't' .. worker, token, 'n' .. worker, attempt)
redis.call('HINCRBY', META, 'b' .. worker, 1)
if target ~= '' then redis.call('HSET', META, 'x' .. worker .. ':' .. target, '') end
keep()
return {'OK', version, newest_state(), ''}
