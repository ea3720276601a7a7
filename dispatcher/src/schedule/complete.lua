redis.call('HDEL', KEYS[1], 'building')
return {0}
