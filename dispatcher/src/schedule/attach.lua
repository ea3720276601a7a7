-- ARGV: epoch. Takes the shard over, if there is a whole schedule.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'generation', 'version', 'count', 'building')
if head[1] and tonumber(head[1]) > tonumber(ARGV[1]) then return {-1} end
if not head[2] or head[5] then return {-2} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
return {0, head[2], tonumber(head[3]), tonumber(head[4])}
