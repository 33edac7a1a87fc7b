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

local when = ARGV[6]
local at_once = when == 'now' or when == 'look'
local reply = miscounted(6) or unlike('worker', 1, 0, LAST) or unlike('attempt', 5, 1, 2 ^ 31) or
  not at_once and unlike('iteration', 6, 1, MOST)
if reply then return reply end
local worker, token, target, attempt = ARGV[1], ARGV[3], ARGV[4], tonumber(ARGV[5])
if token == '' then return refuse('an attempt needs a token') end
if not version then return {'GONE', 0, '', ''} end
if ARGV[2] ~= tostring(workers) then return refuse('this run has ' .. workers .. ' workers, not ' .. ARGV[2]) end

abort_if_client_is_gone()
if word == 'done' then return {'DONE', version, newest_state(), ''} end
if word == 'abort' then return {'ABORT', version, '', why} end
local newest = tonumber(redis.call('HGET', META, 'n' .. worker) or 0)
if attempt < newest or redis.call('HEXISTS', META, 'f' .. token) == 1 then return {'FENCED', version, '', ''} end

local before, holder, state = redis.call('HGET', META, 't' .. worker), redis.call('GET', LEASE), newest_state()
if when == 'look' then return {'OK', version, state, ''} end
if not at_once and (tonumber(when) ~= version or redis.call('HEXISTS', PARTIALS, 'd' .. worker) == 1) then
  return {'LATE', version, '', ''}
end

if before and before ~= token then
  redis.call('HSET', META, 'f' .. before, worker)
  -- If it was computing the next state, nobody needs to wait for its lease to expire.
  if holder == before then redis.call('DEL', LEASE) end
end
redis.call('HSET', META, 't' .. worker, token, 'n' .. worker, attempt)
redis.call('HINCRBY', META, 'b' .. worker, 1)
if target ~= '' then redis.call('HSET', META, 'x' .. worker .. ':' .. target, '') end
keep()
return {'OK', version, state, ''}
