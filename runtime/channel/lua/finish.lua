-- Publish the next state. The first to publish wins.
--
-- KEYS  see prelude.lua
-- ARGV  1 iteration whose sum this state comes from  2 worker  3 token  4 done ('0' or '1')  5 state
-- Reply {'OK' | 'STALE' | 'AHEAD' | 'DONE' | 'ABORT' | 'FENCED' | 'GONE', version, why}

local reply = miscounted(5) or unlike('iteration', 1, 1, MOST) or unlike('worker', 2, 0, LAST) or
  unlike('done', 4, 0, 1)
if reply then return reply end
if not version then return {'GONE', 0, ''} end
local iteration, worker = tonumber(ARGV[1]), ARGV[2]

if word == 'done' then return {'DONE', version, ''} end
if word == 'abort' then return {'ABORT', version, why} end
local aside = set_aside(worker, ARGV[3])
if aside then return {aside, version, ''} end
if iteration < version then return {'STALE', version, ''} end
if iteration > version or redis.call('HEXISTS', PARTIALS, 'root') == 0 then return {'AHEAD', version, ''} end

version = version + 1
redis.call('XADD', STATES, 'MAXLEN', 2, version .. '-0', 'state', ARGV[5], 'done', ARGV[4])
redis.call('HSET', META, 'version', version)
if ARGV[4] == '1' then
  end_run('done')
else
  redis.call('UNLINK', PARTIALS, LEASE)
  keep()
end
return {'OK', version, ''}
