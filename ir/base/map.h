/* Hash map from byte strings to pointers, in an arena. Keys are copied. Iteration is in order of insertion,
 * so that nothing that is printed or compiled depends on addresses. */
#ifndef COL_BASE_MAP_H
#define COL_BASE_MAP_H

#include "ir/base/arena.h"

typedef struct col_map_entry {
    const char *key; /* NUL-terminated copy */
    size_t key_size;
    uint64_t hash;
    void *value;
} col_map_entry;

typedef struct col_map {
    col_arena *arena;
    col_map_entry *entries; /* in order of insertion */
    size_t len, cap;
    uint32_t *slots; /* index + 1 into entries; 0 is empty */
    size_t slot_count;
} col_map;

/* An empty map; it and its keys live in `arena`, its values belong to the caller. */
col_map *col_map_create(col_arena *arena);
/* The value under the key, or NULL. */
void *col_map_get(const col_map *map, const char *key);
void *col_map_get_bytes(const col_map *map, const void *key, size_t key_size);
/* Sets the value; returns the value it replaces, or NULL. */
void *col_map_set(col_map *map, const char *key, void *value);
void *col_map_set_bytes(col_map *map, const void *key, size_t key_size, void *value);

/* 64-bit hash of bytes, the same on every machine and run. Chain calls through `seed`. */
uint64_t col_hash_bytes(const void *data, size_t size, uint64_t seed);

#endif
