-- KEYS: keys, marks, states, order.
-- ARGV: seconds after which an unused session is gone; sessions of a scope that are kept; sessions a
-- key may lead to; then of each change: id, new mark without keys, state, keys added, keys outdated.
-- Returns of each session that others have changed meanwhile: id, version and used, state.
local KEY_LISTS, MARKS, STATES, ORDER = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local GONE_AFTER, MOST, CANDIDATES = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local REMOVED_PER_CHANGE = 2 -- more than a change can add, so removal keeps up without sweeps

-- Change the lists of some keys, each as `changed` says: ids to ids.
local function relink(keys, changed)
  local written, emptied = {}, {}
  for number, list in ipairs(run('HMGET', KEY_LISTS, keys)) do
    local ids = {}
    for id in string.gmatch(list or '', '%S+') do
      ids[#ids + 1] = id
    end
    ids = changed(ids)
    if #ids > 0 then
      written[#written + 1] = keys[number]
      written[#written + 1] = table.concat(ids, ' ')
    else
      emptied[#emptied + 1] = keys[number]
    end
  end
  run('HSET', KEY_LISTS, written)
  run('HDEL', KEY_LISTS, emptied)
end

local function without(gone)
  return function(ids)
    local others = {}
    for _, id in ipairs(ids) do
      if id ~= gone then
        others[#others + 1] = id
      end
    end
    return others
  end
end

local function with(new)
  return function(ids)
    for _, id in ipairs(ids) do
      if id == new then
        return ids
      end
    end
    ids[#ids + 1] = new
    if #ids > CANDIDATES then
      table.remove(ids, 1)
    end
    return ids
  end
end

local function remove(id)
  local mark = redis.call('HGET', MARKS, id)
  if mark then
    relink(split(string.sub(mark, MARK + 1)), without(id))
  end
  redis.call('HDEL', MARKS, id)
  redis.call('HDEL', STATES, id)
  redis.call('ZREM', ORDER, id)
end

-- Return where a key is in a string of keys, or nil.
local function place_of(key, packed)
  local place = string.find(packed, key, 1, true)
  while place and place % 8 ~= 1 do -- it straddles two others
    place = string.find(packed, key, place + 1, true)
  end
  return place
end

-- Change the keys of a session; return all that it has then.
local function rekey(id, had, added, outdated)
  local new, gone = split(added), split(outdated)
  for _, key in ipairs(gone) do
    local place = place_of(key, had)
    if place then
      had = string.sub(had, 1, place - 1) .. string.sub(had, place + 8)
    end
  end
  relink(gone, without(id))
  local has = {had}
  for _, key in ipairs(new) do
    if not place_of(key, had) then
      has[#has + 1] = key
    end
  end
  relink(new, with(id))
  return table.concat(has)
end

local since = tonumber(redis.call('TIME')[1]) - GONE_AFTER
local newer = {}
for place = 4, #ARGV, 5 do
  local id, mark, state, added, outdated = unpack(ARGV, place, place + 4)
  local version, used = struct.unpack('>I4d', mark)
  local old = redis.call('HGET', MARKS, id)
  if old and struct.unpack('>I4', old) ~= version - 1 then
    newer[#newer + 1] = id
    newer[#newer + 1] = string.sub(old, 1, MARK)
    newer[#newer + 1] = redis.call('HGET', STATES, id)
  else
    local had = old and string.sub(old, MARK + 1) or ''
    redis.call('HSET', MARKS, id, mark .. rekey(id, had, added, outdated))
    redis.call('HSET', STATES, id, state)
    redis.call('ZADD', ORDER, used, id)
    for _ = 1, REMOVED_PER_CHANGE do
      local oldest = redis.call('ZRANGE', ORDER, 0, 0, 'WITHSCORES')
      if not oldest[1] then
        break
      end
      if tonumber(oldest[2]) < since or redis.call('ZCARD', ORDER) > MOST then
        remove(oldest[1])
      end
    end
  end
end
-- A scope that nobody uses goes as a whole, when its newest session would.
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, GONE_AFTER)
end
return newer
