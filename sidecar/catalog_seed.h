/* The categories and actions that every new store begins with. */

#ifndef CATALOG_SEED_H
#define CATALOG_SEED_H

#include "store.h"

/*
 * Writes what is not there yet, once a store and a version of the table: what
 * was changed or deleted later stays so.  *added counts.
 */
must_check enum result catalog_seed(struct store *s, unsigned *added);

#endif /* CATALOG_SEED_H */
