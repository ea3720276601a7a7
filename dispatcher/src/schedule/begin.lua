-- ARGV: epoch, generation. Throws the old generation away and begins this one.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'generation')
if head[1] and tonumber(head[1]) > tonumber(ARGV[1]) then return {-1} end
local stem = string.sub(KEYS[1], 1, -2)
if head[2] then
  local old = stem .. head[2] .. ':'
  for _, endpoint in ipairs(redis.call('ZRANGE', old .. 'd', 0, -1)) do
    redis.call('UNLINK', old .. 'e:' .. endpoint)
  end
  redis.call('UNLINK', old .. 'd', old .. 'c')
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'generation', ARGV[2], 'version', 0, 'count', 0, 'building', 1)
return {0}
