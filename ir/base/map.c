#include "ir/base/map.h"

#include <string.h>

/* FNV-1a over the bytes, then the finaliser of MurmurHash3 so that all bits matter. */
uint64_t col_hash_bytes(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *bytes = data;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < size; i++) h = (h ^ bytes[i]) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

col_map *col_map_create(col_arena *arena)
{
    col_map *map = COL_NEW(arena, col_map);
    map->arena = arena;
    return map;
}

/* The slot that holds the key, or the empty one where it belongs. Needs at least one empty slot. */
static size_t find_slot(const col_map *map, const void *key, size_t key_size, uint64_t hash)
{
    size_t slot = hash & (map->slot_count - 1);
    while (map->slots[slot]) {
        const col_map_entry *e = &map->entries[map->slots[slot] - 1];
        if (e->hash == hash && e->key_size == key_size && (!key_size || !memcmp(e->key, key, key_size)))
            break;
        slot = (slot + 1) & (map->slot_count - 1);
    }
    return slot;
}

static void grow(col_map *map)
{
    size_t cap = map->cap ? map->cap * 2 : 8;
    col_map_entry *entries = COL_NEW_ARRAY(map->arena, col_map_entry, cap);
    if (map->len) memcpy(entries, map->entries, map->len * sizeof *entries);
    map->entries = entries;
    map->cap = cap;
    map->slot_count = cap * 2;
    map->slots = COL_NEW_ARRAY(map->arena, uint32_t, map->slot_count);
    for (size_t i = 0; i < map->len; i++) {
        map->slots[find_slot(map, entries[i].key, entries[i].key_size, entries[i].hash)] = (uint32_t)i + 1;
    }
}

void *col_map_get_bytes(const col_map *map, const void *key, size_t key_size)
{
    if (!map->len) return NULL;
    uint32_t index = map->slots[find_slot(map, key, key_size, col_hash_bytes(key, key_size, 0))];
    return index ? map->entries[index - 1].value : NULL;
}

void *col_map_set_bytes(col_map *map, const void *key, size_t key_size, void *value)
{
    if (map->len == map->cap) grow(map);
    COL_ASSERT(map->len < UINT32_MAX);
    uint64_t hash = col_hash_bytes(key, key_size, 0);
    size_t slot = find_slot(map, key, key_size, hash);
    if (map->slots[slot]) {
        col_map_entry *e = &map->entries[map->slots[slot] - 1];
        void *old = e->value;
        e->value = value;
        return old;
    }
    char *copy = col_arena_strndup(map->arena, key, key_size);
    map->entries[map->len] = (col_map_entry){copy, key_size, hash, value};
    map->slots[slot] = (uint32_t)++map->len;
    return NULL;
}

void *col_map_get(const col_map *map, const char *key)
{
    return col_map_get_bytes(map, key, strlen(key));
}

void *col_map_set(col_map *map, const char *key, void *value)
{
    return col_map_set_bytes(map, key, strlen(key), value);
}
