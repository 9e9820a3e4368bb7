/*
 * A capture record (record_fields.h) as a log.  Pure: no I/O, no clock, no
 * tenant; who owns the log is decided by the drain.
 *
 * Rules: the format's version must be ours, a required field present, a known
 * field not repeated, a number decimal and not negative, lengths within the
 * bounds of record_fields.h.  Unknown names are allowed (a newer writer), up to
 * a number.  Single-line text that is not clean UTF-8 keeps every byte as \xNN.
 */

#ifndef RECORD_H
#define RECORD_H

#include "logdoc.h"
#include "record_fields.h"

/* names and values of one entry, at most; more is no record */
#define RECORD_MAX_FIELDS  (RECORD_F_COUNT + RECORD_MAX_PAIRS + 64)

struct record {
    struct logdoc  doc;                    /* lab_id, org_id: none yet */
    struct slice   key_sha256;             /* 64 hex digits, or empty */
    int64_t        claimed_lab;            /* ref.lab_id, LOGDOC_NONE */
};

/*
 * PAIRS are N names and values in turn (N even).  Slices of *out borrow them
 * or *a.  RESULT_INVALID: WHY is what is wrong, in one line of clean text.
 */
must_check enum result record_decode(const struct slice *pairs, size_t n,
    struct arena *a, struct record *out, char *why, size_t whylen);

#endif /* RECORD_H */
