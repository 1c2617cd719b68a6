/* Linking a new leaf table against the scan of an unplug.
 *
 * "Set dead, then scan" against "link, then check dead" is a store-buffering shape: each side stores one
 * word and loads the other's. Both stores therefore go through a one-entry store buffer here, which
 * drains at any later moment; so a load may overtake the own store as it may on real machines.
 *
 * Default: link, check and scan each hold the lock of the directory slot. Taking a lock drains nothing
 * (acquire), releasing one does (release). With FENCED the same is done by a compare-exchange and
 * sequentially consistent fences.
 *
 * Property: when everybody is done, no table is left in the directory, and each allocated table was
 * freed by its faulter or found by the scan, once.
 *
 * Broken variants: NO_DEAD_CHECK, CHECK_BEFORE_LOCK, SCAN_WITHOUT_LOCK, MARK_AFTER_SCAN,
 * DEAD_CLEARED_ON_REPLUG; with FENCED: NO_FENCE_AT_LINK, NO_FENCE_AT_MARK.
 */
#define FAULTERS 2
#define NONE 0

bool dead_stored;            /* unplug executed the store of the dead mark */
bool dead;                   /* and it is visible to the others */
byte slot;                   /* the table in the directory, as all but its writer see it; 1 + faulter */
byte slot_claim;             /* the slot's value in coherence order: what a compare-exchange acts on */
bool link_pending[FAULTERS]; /* the faulter's store of its link is still in its store buffer */
bool locked;                 /* the lock of the directory slot */

byte allocated, freed, scanned, done;

#define LOCK atomic { !locked -> locked = true }
#define UNLOCK locked = false

/* Store buffers drain by themselves, at any moment. */
active proctype Drain() {
end:
  do
  :: atomic { dead_stored && !dead -> dead = true }
  :: atomic { link_pending[0] -> link_pending[0] = false; slot = 1 }
  :: atomic { link_pending[1] -> link_pending[1] = false; slot = 2 }
  od
}

proctype Faulter(byte me) {
  bool saw_dead;
  allocated++;
#ifdef FENCED
  bool won;
  atomic {
    if
    :: slot_claim == NONE -> slot_claim = me + 1; link_pending[me] = true; won = true
    :: else -> won = false
    fi
  }
  if
  :: !won -> freed++
  :: else ->
#ifndef NO_FENCE_AT_LINK
    !link_pending[me];  /* fence: the link is visible before the mark is read */
#endif
#ifndef NO_DEAD_CHECK
    saw_dead = dead;
    if
    :: saw_dead ->
      /* Unlink, unless the scan was faster: the compare-exchange decides who owns the table. */
      atomic {
        if
        :: slot_claim == me + 1 -> slot_claim = NONE; link_pending[me] = false; slot = NONE; freed++
        :: else -> skip
        fi
      }
    :: else -> skip
    fi
#endif
  fi;
#else
#ifdef CHECK_BEFORE_LOCK
  saw_dead = dead;
#endif
  LOCK;
#if !defined(NO_DEAD_CHECK) && !defined(CHECK_BEFORE_LOCK)
  saw_dead = dead;
#endif
  if
  :: slot_claim != NONE || saw_dead -> freed++
  :: else -> slot_claim = me + 1; link_pending[me] = true
  fi;
  !link_pending[me];  /* release: what was stored under the lock is visible */
  UNLOCK;
#endif
  done++
}

proctype Unplug() {
  byte found;
#ifndef MARK_AFTER_SCAN
  dead_stored = true;
#endif
#ifdef FENCED
#ifndef NO_FENCE_AT_MARK
  dead == dead_stored;  /* fence: the mark is visible before the slot is read */
#endif
  atomic {
    found = slot;       /* an exchange: takes what is visible */
    if
    :: found != NONE -> slot = NONE; slot_claim = NONE; scanned++
    :: else -> skip
    fi
  }
#else
#ifndef SCAN_WITHOUT_LOCK
  LOCK;
#endif
  found = slot;
  if
  :: found != NONE -> slot = NONE; slot_claim = NONE; scanned++
  :: else -> skip
  fi;
#ifndef SCAN_WITHOUT_LOCK
  dead == dead_stored;  /* release */
  UNLOCK;
#endif
#endif
#ifdef MARK_AFTER_SCAN
  dead_stored = true;
#endif
#ifdef DEAD_CLEARED_ON_REPLUG
  /* Plugging the range again revives the old region, whose directory nobody scans any more. */
  atomic { dead -> dead_stored = false; dead = false }
#endif
  done++
}

init {
  atomic { run Faulter(0); run Faulter(1); run Unplug() }
  done == FAULTERS + 1;
  !link_pending[0] && !link_pending[1];
  assert(slot == NONE);                  /* nothing is reachable in a dead region */
  assert(allocated == freed + scanned);  /* no leak and no double free */
}
