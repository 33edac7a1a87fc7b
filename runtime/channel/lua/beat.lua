-- Hear that an attempt is alive, and tell it if it is not needed any more.
--
-- KEYS  see prelude.lua
-- ARGV  1 worker  2 token
-- Reply {'OK' | 'DONE' | 'ABORT' | 'FENCED' | 'AHEAD' | 'GONE', version, why}

local reply = miscounted(2) or unlike('worker', 1, 0, LAST)
if reply then return reply end
if not version then return {'GONE', 0, ''} end
local worker = ARGV[1]

abort_if_client_is_gone()
if word == 'done' then return {'DONE', version, ''} end
if word == 'abort' then return {'ABORT', version, why} end
local aside = set_aside(worker, ARGV[2])
if aside then return {aside, version, ''} end
redis.call('HINCRBY', META, 'b' .. worker, 1)
return {'OK', version, ''}
