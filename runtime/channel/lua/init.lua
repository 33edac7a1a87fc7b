-- Create a run. Repeating it is harmless; a second owner is told that the run exists.
--
-- KEYS  see prelude.lua
-- ARGV  1 ttl (ms)  2 linger (ms)  3 workers  4 lease of the client (ms)  5 owner  6 first state
-- Reply {'OK' | 'EXISTS', version}

local reply = miscounted(6) or unlike('ttl', 1, 1, MOST) or unlike('linger', 2, 1, MOST) or
  unlike('the number of workers', 3, 1, 2 ^ 20) or unlike('lease', 4, 1, MOST)
if reply then return reply end
if version then
  local same = redis.call('HGET', META, 'owner') == ARGV[5]
  return {same and 'OK' or 'EXISTS', version}
end

redis.call('HSET', META, 'version', 1, 'workers', ARGV[3], 'word', 'run', 'ttl', ARGV[1], 'linger', ARGV[2],
  'owner', ARGV[5])
-- What an earlier run of this name may have left. A server that is full would take this as leave to write the rest.
redis.call('UNLINK', PARTIALS, STATES, LEASE, ENDING)
redis.call('XADD', STATES, '1-0', 'state', ARGV[6], 'done', '0')
redis.call('SET', CLIENT, ARGV[5], 'PX', ARGV[4])
ttl = ARGV[1]
keep()
return {'OK', 1}
