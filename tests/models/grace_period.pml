/* Freeing tables after a grace period, with the limbo's take-back, and without any waiting caller.
 *
 * A reader enters a section, loads the pointer, uses the table, leaves. Unplug unlinks the table and puts
 * it into limbo with a ticket: the readers inside at that moment. Reclaim frees it when all of them have
 * left. A re-plug may take it back until then; when it comes to limbo again it gets a new ticket.
 *
 * Property: no reader touches a freed table, a table in use is never freed, none is freed twice, and
 * unplug never waits (it has no blocking statement but the limbo's lock, which nobody holds for long).
 *
 * Broken variants: FREE_WITHOUT_GRACE_PERIOD, TICKET_BEFORE_UNLINK, KEEP_OLD_TICKET, RECLAIM_WITHOUT_LOCK.
 */
#define READERS 2
#define CYCLES 2

bool linked = true;         /* the table is in the directory: readers find it */
bool in_limbo;
bool freed;
bool inside[READERS];       /* a read section is open */
bool awaited[READERS];      /* the ticket: this reader was inside and has not left since */
bool locked;                /* the limbo's lock */
bool unplugs_done;
byte done;

#define LOCK atomic { !locked -> locked = true }
#define UNLOCK locked = false
#define ELAPSED (!awaited[0] && !awaited[1])

proctype Reader(byte me) {
  bool found;
  byte round;
  do
  :: round < 2 ->
    inside[me] = true;
    found = linked;
    if
    :: found -> assert(!freed)  /* the leaf's lock, its owner, its generation */
    :: else -> skip
    fi;
    atomic { inside[me] = false; awaited[me] = false };
    found = false;
    round++
  :: else -> break
  od;
  done++
}

inline TakeTicket() {
  atomic { awaited[0] = inside[0]; awaited[1] = inside[1] }
}

proctype Control() {
  byte cycle;
  do
  :: cycle < CYCLES ->
#ifdef TICKET_BEFORE_UNLINK
    TakeTicket();
    linked = false;
#else
    linked = false;
#ifdef KEEP_OLD_TICKET
    if
    :: cycle == 0 -> TakeTicket()
    :: else -> skip
    fi;
#else
    TakeTicket();
#endif
#endif
    LOCK;
    in_limbo = true;
    UNLOCK;
    cycle++;
    if
    :: cycle == CYCLES -> break
    :: else -> skip
    fi;
    /* Re-plug: take the table back if limbo still has it; otherwise this model has no more tables. */
    LOCK;
    if
    :: in_limbo -> in_limbo = false; UNLOCK; assert(!freed); linked = true
    :: else -> UNLOCK; break
    fi
  :: else -> break
  od;
  unplugs_done = true;
  done++
}

proctype Reclaim() {
  bool expired;
  do
  :: freed -> break
#ifdef RECLAIM_WITHOUT_LOCK
  :: in_limbo && ELAPSED -> expired = true
#else
  :: atomic { !locked && in_limbo && !freed -> locked = true };
#ifdef FREE_WITHOUT_GRACE_PERIOD
    expired = true;
#else
    expired = ELAPSED;
#endif
    if
    :: expired -> in_limbo = false
    :: else -> skip
    fi;
    UNLOCK;
#endif
    if
    :: expired ->
      assert(!freed);
      assert(!linked);
      in_limbo = false;
      freed = true
    :: else -> skip
    fi
  od;
  done++
}

init {
  atomic { run Reader(0); run Reader(1); run Control(); run Reclaim() }
  done == READERS + 2;
  assert(unplugs_done && freed && !linked && !in_limbo)
}
