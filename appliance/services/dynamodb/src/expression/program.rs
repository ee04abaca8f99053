//! What an expression says before names and values of a request are known, and the code that a condition becomes.
//!
//! Invariant: operands stand after the operands that they are made of, and those of one test lie together; a skip goes
//! forward only. So checks are one walk over `operands` and evaluation is one walk over `code`: neither recurses.

use std::ops::Range;

/// A place in `Terms::operands`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OperandId(pub u32);

/// A place in `Terms::paths`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathId(pub u32);

/// A place in `Terms::values`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ValueSlot(pub u32);

/// One step of a path as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PathStep {
    /// A name that stands for itself.
    Literal(Box<str>),
    /// `#name`, sign included; the request says what it stands for.
    Name(Box<str>),
    /// A place in a list.
    Index(u32),
}

/// The functions of all grammars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Function {
    AttributeExists,
    AttributeNotExists,
    AttributeType,
    BeginsWith,
    Contains,
    Size,
    IfNotExists,
    ListAppend,
}

impl Function {
    /// The function of a name; case matters.
    pub fn named(name: &str) -> Option<Function> {
        Some(match name {
            "attribute_exists" => Function::AttributeExists,
            "attribute_not_exists" => Function::AttributeNotExists,
            "attribute_type" => Function::AttributeType,
            "begins_with" => Function::BeginsWith,
            "contains" => Function::Contains,
            "size" => Function::Size,
            "if_not_exists" => Function::IfNotExists,
            "list_append" => Function::ListAppend,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Function::AttributeExists => "attribute_exists",
            Function::AttributeNotExists => "attribute_not_exists",
            Function::AttributeType => "attribute_type",
            Function::BeginsWith => "begins_with",
            Function::Contains => "contains",
            Function::Size => "size",
            Function::IfNotExists => "if_not_exists",
            Function::ListAppend => "list_append",
        }
    }

    /// How many operands it takes.
    pub fn operand_count(self) -> usize {
        match self {
            Function::AttributeExists | Function::AttributeNotExists | Function::Size => 1,
            _ => 2,
        }
    }

    /// Whether it belongs to updates; the others belong to conditions.
    pub fn is_of_updates(self) -> bool {
        matches!(self, Function::IfNotExists | Function::ListAppend)
    }
}

/// What a test or an action works on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Operand {
    Path(PathId),
    Value(ValueSlot),
    /// A function that answers a value, or one that may not stand here; the range lies in `Terms::lists`.
    Call(Function, Range<u32>),
    /// A function that does not exist. A text with one is refused before anything looks at it.
    Unknown,
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparator {
    /// As written.
    pub fn sign(self) -> &'static str {
        match self {
            Comparator::Equal => "=",
            Comparator::NotEqual => "<>",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
        }
    }

    /// The comparator that says the same with its sides exchanged.
    pub fn flipped(self) -> Comparator {
        match self {
            Comparator::Equal | Comparator::NotEqual => self,
            Comparator::Less => Comparator::Greater,
            Comparator::LessOrEqual => Comparator::GreaterOrEqual,
            Comparator::Greater => Comparator::Less,
            Comparator::GreaterOrEqual => Comparator::LessOrEqual,
        }
    }

    /// Whether it asks for an order, so that only S, N and B make sense.
    pub fn is_ordering(self) -> bool {
        !matches!(self, Comparator::Equal | Comparator::NotEqual)
    }
}

/// One question about an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Test {
    Compare(Comparator, OperandId, OperandId),
    Between {
        value: OperandId,
        low: OperandId,
        high: OperandId,
    },
    /// The range lies in `Terms::lists`.
    In(OperandId, Range<u32>),
    /// A function that answers true or false; the range lies in `Terms::lists`.
    Call(Function, Range<u32>),
}

/// One step of a condition's code. The machine holds one truth, that of the last test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Instruction {
    /// Asks; the operands that belong to the test end before this place in `Terms::operands`.
    Test(Test, u32),
    /// Turns the truth around.
    Not,
    /// AND: goes on at this place if the left side was false.
    SkipIfFalse(u32),
    /// OR: goes on at this place if the left side was true.
    SkipIfTrue(u32),
}

/// What the operands of one expression are made of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    /// After their own operands, in the order of the text.
    pub operands: Vec<Operand>,
    /// The operands of functions and of IN, each list in one piece.
    pub lists: Vec<OperandId>,
    /// In the order of the text.
    pub paths: Vec<Vec<PathStep>>,
    /// `:value` as written, sign included, one slot for each time that it is written.
    pub values: Vec<Box<str>>,
}

impl Terms {
    /// An operand by its place.
    pub fn operand(&self, id: OperandId) -> &Operand {
        &self.operands[id.0 as usize]
    }

    /// A list of operands by its range.
    pub fn list(&self, range: &Range<u32>) -> &[OperandId] {
        &self.lists[range.start as usize..range.end as usize]
    }

    /// Adds an operand.
    pub fn add(&mut self, operand: Operand) -> OperandId {
        self.operands.push(operand);
        OperandId(self.operands.len() as u32 - 1)
    }

    /// Adds a path as an operand.
    pub fn add_path(&mut self, steps: Vec<PathStep>) -> OperandId {
        self.paths.push(steps);
        self.add(Operand::Path(PathId(self.paths.len() as u32 - 1)))
    }

    /// Adds a value as an operand.
    pub fn add_value(&mut self, name: Box<str>) -> OperandId {
        self.values.push(name);
        self.add(Operand::Value(ValueSlot(self.values.len() as u32 - 1)))
    }

    /// Adds a list of operands.
    pub fn add_list(&mut self, operands: &[OperandId]) -> Range<u32> {
        let start = self.lists.len() as u32;
        self.lists.extend_from_slice(operands);
        start..self.lists.len() as u32
    }
}

/// A condition as written.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Program {
    pub terms: Terms,
    pub code: Vec<Instruction>,
}

impl Program {
    /// Adds a test whose operands are the last ones.
    pub fn test(&mut self, test: Test) {
        let end = self.terms.operands.len() as u32;
        self.code.push(Instruction::Test(test, end));
    }

    /// Begins the right side of an AND or OR whose left side is complete; answers what `join` needs.
    pub fn split(&mut self, and: bool) -> usize {
        let skip = if and { Instruction::SkipIfFalse(0) } else { Instruction::SkipIfTrue(0) };
        self.code.push(skip);
        self.code.len() - 1
    }

    /// Ends the right side: the skip lands behind it.
    pub fn join(&mut self, split: usize) {
        let end = self.code.len() as u32;
        match &mut self.code[split] {
            Instruction::SkipIfFalse(to) | Instruction::SkipIfTrue(to) => *to = end,
            Instruction::Test(..) | Instruction::Not => unreachable!("split() pushed a skip here"),
        }
    }
}
