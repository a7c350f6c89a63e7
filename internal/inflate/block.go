package inflate

// lengthOrder is how the code lengths of the code of code lengths come.
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// fixed makes the tables of RFC 1951, section 3.2.6.
func (d *decoder) fixed() error {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	build(d.lit[:], litRoot, lengths[:], litEntry)
	for i := range 32 {
		lengths[i] = 5
	}
	build(d.dist[:], distRoot, lengths[:32], distEntry)
	return nil
}

// dynamic reads the codes of a block (RFC 1951, section 3.2.7).
func (d *decoder) dynamic() error {
	v, err := d.take(14)
	if err != nil {
		return err
	}
	lits, dists, codes := int(v&31)+257, int(v>>5&31)+1, int(v>>10)+4
	if lits > numLit || dists > numDist {
		return ErrCorrupt
	}
	var own [19]uint8
	for _, i := range lengthOrder[:codes] {
		v, err := d.take(3)
		if err != nil {
			return err
		}
		own[i] = uint8(v)
	}
	const root = 7
	var table [1 << root]uint32
	if !build(table[:], root, own[:], plainEntry) {
		return ErrCorrupt
	}
	var lengths [numLit + numDist]uint8
	for i := 0; i < lits+dists; {
		e, err := d.code(table[:], root)
		if err != nil {
			return err
		}
		sym := e >> 16
		if sym < 16 {
			lengths[i] = uint8(sym)
			i++
			continue
		}
		extra, least, value := uint(7), 11, uint8(0)
		switch sym {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			extra, least, value = 2, 3, lengths[i-1]
		case 17:
			extra, least = 3, 3
		}
		v, err := d.take(extra)
		if err != nil {
			return err
		}
		n := least + int(v)
		if i+n > lits+dists {
			return ErrCorrupt
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	if !build(d.lit[:], litRoot, lengths[:lits], litEntry) || !build(d.dist[:], distRoot, lengths[lits:lits+dists], distEntry) {
		return ErrCorrupt
	}
	return nil
}

// code reads a code bit by bit as far as it is there, and returns its entry. Of
// the extra bits none are taken.
func (d *decoder) code(table []uint32, root uint) (uint32, error) {
	for {
		e := table[d.bb&(1<<root-1)]
		n := uint(e >> 8 & 15)
		if e&isPointer != 0 {
			e = table[uint64(e>>16)+d.bb>>root&(1<<n-1)]
			n = root + uint(e>>8&15)
		}
		switch {
		case e&(isOther|isEnd) == isOther: // no code begins like this
			if d.bn >= maxBits || n != 0 && d.bn >= n {
				return 0, ErrCorrupt
			}
		case n <= d.bn:
			d.bb >>= n
			d.bn -= n
			return e, nil
		}
		if err := d.oneMore(); err != nil {
			return 0, err
		}
	}
}

// decode makes bytes until the block ends or the buffer is full.
func (d *decoder) decode() error {
	for d.op < window+outSize && d.block == codes {
		err := d.fast()
		if err == nil && d.op < window+outSize && d.block == codes {
			err = d.slow()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// slow decodes one literal or match, near the end of what was read.
func (d *decoder) slow() error {
	e, err := d.code(d.lit[:], litRoot)
	switch {
	case err != nil:
		return err
	case e&isLiteral != 0:
		d.out[d.op] = byte(e >> 16)
		d.op++
		return nil
	case e&isEnd != 0:
		d.ended()
		return nil
	}
	extra, err := d.take(uint(e&0xff) - uint(e>>8&15))
	if err != nil {
		return err
	}
	length := int(e>>16) + int(extra)
	if e, err = d.code(d.dist[:], distRoot); err != nil {
		return err
	}
	if extra, err = d.take(uint(e&0xff) - uint(e>>8&15)); err != nil {
		return err
	}
	from := d.op - int(e>>16) - int(extra)
	if from < d.hist {
		return ErrCorrupt
	}
	for range length {
		d.out[d.op] = d.out[from]
		d.op++
		from++
	}
	return nil
}
